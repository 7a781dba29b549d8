"""Phase, progress and conditions of a cache in each situation, and what the messages tell people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.contracts.download import DownloadReport, ReportedError
from app.fit.catalog import find_model
from tests.calls import NOW, Answer
from tests.modelcache.cache import (
    FINISHED,
    access,
    call,
    claim,
    complete,
    failed,
    filled,
    job,
    reporting,
    running,
    spec,
)

REPORT = DownloadReport(
    bytes_done=47 * 2**30,
    bytes_total=47 * 2**30,
    files_done=3,
    files_total=3,
    revision="abc123",
    path=str(call().status["path"]),
    size_on_disk=47 * 2**30,
    verified_files=3,
    parameters=8_030_261_248,
    model=find_model("meta-llama/Llama-3.1-8B-Instruct"),
)
GATED = DownloadReport(error=ReportedError("Configuration", "GatedRepository", "Accept the terms."))
TOO_SMALL = DownloadReport(error=ReportedError("Resource", "VolumeTooSmall", "Enlarge it."))
REFRESH = {"inference.ai/refresh": "now"}


def refreshing(*more: Any) -> Answer:
    """A cache whose model is there and is fetched anew."""
    return call(children=[claim(), *more], status=call(children=filled()).status, annotations=REFRESH)


TABLE = [
    pytest.param(
        call(),
        "Pending",
        0,
        {
            "Ready": ("False", "Pending"),
            "Downloaded": ("False", "Pending"),
            "StorageReady": ("False", "Pending"),
            "ChildConflict": ("Unknown", "Pending"),
        },
        id="created",
    ),
    pytest.param(
        call(children=[claim(phase="Pending"), *access(), job()]),
        "Pending",
        0,
        {
            "Ready": ("False", "Pending"),
            "Downloaded": ("False", "Pending"),
            "StorageReady": ("False", "Pending"),
            "ChildConflict": ("False", "OwnedByUs"),
        },
        id="claim not bound",
    ),
    pytest.param(
        call(children=[claim(), *access(), job()]),
        "Pending",
        0,
        {"Ready": ("False", "Pending"), "StorageReady": ("True", "Successful")},
        id="job not started",
    ),
    pytest.param(
        call(children=[claim(), *access(), running(job(), 40)]),
        "Downloading",
        40,
        {"Ready": ("False", "InProgress"), "Downloaded": ("False", "InProgress")},
        id="downloading",
    ),
    pytest.param(
        call(children=filled()),
        "Ready",
        100,
        {
            "Ready": ("True", "Successful"),
            "Downloaded": ("True", "Successful"),
            "StorageReady": ("True", "Successful"),
            "ChildConflict": ("False", "OwnedByUs"),
        },
        id="ready",
    ),
    pytest.param(
        call(children=[claim(), failed(job())]),
        "Failed",
        0,
        {"Ready": ("False", "Failed"), "Downloaded": ("False", "Failed"), "StorageReady": ("True", "Successful")},
        id="download failed",
    ),
    pytest.param(
        call(children=[claim(phase="Lost"), complete(job())]),
        "Failed",
        0,
        {"Ready": ("False", "Failed"), "Downloaded": ("False", "Failed"), "StorageReady": ("False", "Failed")},
        id="volume lost",
    ),
    pytest.param(
        refreshing(*access(annotations=REFRESH), running(job(annotations=REFRESH), 10)),
        "Downloading",
        10,
        {"Ready": ("True", "Successful"), "Downloaded": ("False", "InProgress")},
        id="fetched anew while it can be read",
    ),
    pytest.param(
        refreshing(failed(job(annotations=REFRESH))),
        "Failed",
        0,
        {"Ready": ("True", "Successful"), "Downloaded": ("False", "Failed")},
        id="fetching anew failed",
    ),
    pytest.param(
        call(unmanaged=["Job.batch/v1"], children=[claim()]),
        "Failed",
        0,
        {"Ready": ("False", "MissingCapability"), "Downloaded": ("False", "MissingCapability")},
        id="no Jobs",
    ),
]


@pytest.mark.parametrize(("answer", "phase", "progress", "expected"), TABLE)
def test_conditions_are(answer: Answer, phase: str, progress: int, expected: dict[str, tuple[str, str]]) -> None:
    assert {kind: answer.conditions()[kind] for kind in expected} == expected
    assert answer.status["phase"] == phase
    assert answer.status.get("downloadProgress") == progress


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        pytest.param(call(), "Ready", "PersistentVolumeClaim demo-cache does not exist yet", id="no claim"),
        pytest.param(
            call(spec(storageClass="fast"), children=[claim(spec(storageClass="fast"), phase="Pending")]),
            "StorageReady",
            "demo-cache (class fast, ReadWriteMany, 50Gi) is not bound",
            id="not bound",
        ),
        pytest.param(
            call(children=[claim(), *access(), running(job(), 41)]),
            "Ready",
            "downloads the model: 41 % is done",
            id="progress",
        ),
        pytest.param(call(children=[claim(), *access(), job()]), "Ready", "has not started yet", id="not started"),
        pytest.param(
            call(children=[claim(), *access(), reporting(job(), TOO_SMALL) | {"status": {"failed": 5}}]),
            "Ready",
            "waits for its next try. The last try failed: VolumeTooSmall: Enlarge it. It is tried again.",
            id="between two tries",
        ),
        pytest.param(
            call(children=[claim(), *access(), reporting(job(), GATED) | {"status": {"active": 1}}]),
            "Ready",
            "0 % is done. The last try failed: GatedRepository: Accept the terms.",
            id="before the Job has noticed that it was the last",
        ),
        pytest.param(
            call(children=[claim(), *access(), reporting(job(), TOO_SMALL) | {"status": {"active": 1, "failed": 5}}]),
            "Downloaded",
            "0 % is done. The last try failed: VolumeTooSmall: Enlarge it. It is tried again.",
            id="at the next try",
        ),
        pytest.param(
            call(children=[claim(), failed(job(), "BackoffLimitExceeded", "Job has reached the limit.")]),
            "Ready",
            "failed: BackoffLimitExceeded: Job has reached the limit. Its pods' logs say more. It is tried again at "
            "2026-01-01T12:00:50Z; to try sooner, annotate inference.ai/refresh=",
            id="what the Job says",
        ),
        pytest.param(
            call(children=[claim(), failed(job(), "", "")]), "Ready", "the Job gives no reason", id="a silent Job"
        ),
        pytest.param(
            call(children=[claim(phase="Lost")]),
            "Ready",
            "has lost its volume, and the model with it: delete",
            id="lost",
        ),
        pytest.param(call(children=filled()), "Ready", "is at org--tiny-", id="where"),
        pytest.param(
            refreshing(failed(job(annotations=REFRESH))), "Ready", "This is an earlier download. Job", id="earlier"
        ),
        pytest.param(
            call(unmanaged=["Job.batch/v1"], children=[claim()]), "Ready", "Add it to spec.childResources", id="no Jobs"
        ),
    ],
)
def test_a_message_says_what_people_need(answer: Answer, kind: str, words: str) -> None:
    assert words in answer.condition(kind)["message"]


def test_what_the_specification_says_of_a_download_is_said() -> None:
    assert call(children=filled()).condition("Downloaded")["message"] == "Model successfully downloaded and cached."


def test_the_status_says_where_the_model_is_since_when_and_how_large() -> None:
    status = call(children=[claim(), complete(job(), report=REPORT)]).status
    assert status["claimName"] == "demo-cache"
    assert status["path"].startswith("org--tiny-")
    assert status["version"] == "abc123"
    assert status["lastUpdated"] == FINISHED
    assert status["sizeOnDisk"] == "47Gi"
    assert status["copies"][0]["completedJob"] == status["jobName"]


@pytest.mark.parametrize("said", ["", "-3", '{"bytesDone":7,"bytesTotal":-1}', '{"bytesDone":9,"bytesTotal":3}', "[[["])
def test_a_strange_report_is_never_out_of_bounds(said: str) -> None:
    there = reporting(running(job()), said)
    assert 0 <= call(children=[claim(), *access(), there]).status["downloadProgress"] <= 100


def test_a_claim_whose_name_is_taken_is_said_and_no_job_is_sent() -> None:
    first = call()
    answer = call(status=first.status, now=NOW + timedelta(seconds=31))
    assert answer.conditions()["ChildConflict"] == ("True", "ChildMissing")
    assert answer.conditions()["Ready"] == ("False", "ChildMissing")
    assert answer.status["phase"] == "Failed"
    assert answer.kinds() == ["PersistentVolumeClaim", "ServiceAccount"]


def test_a_volume_that_is_lost_and_made_anew_is_filled_again() -> None:
    """Claim lost, claim deleted, claim made anew: the old Job counts no more."""
    lost = call(children=[claim(phase="Lost"), complete(job())], status=call(children=filled()).status)
    gone = call(children=[complete(job())], status=lost.status)
    assert gone.conditions()["Ready"][0] == "False"
    made = call(children=[claim(created="2026-01-02T00:00:00Z"), complete(job())], status=gone.status)
    assert made.kinds() == ["PersistentVolumeClaim", "ServiceAccount"]
    again = call(children=[claim(created="2026-01-02T00:00:00Z")], status=made.status)
    assert again.kinds() == ["Job", "PersistentVolumeClaim", "Role", "RoleBinding", "ServiceAccount"]
    assert again.conditions()["Ready"] == ("False", "Pending")


@pytest.mark.parametrize("name", ["s3://bucket/model", "https://a.example/model", "a model", "org/model/folder"])
def test_a_name_that_is_no_repository_needs_a_source(name: str) -> None:
    given = spec(modelName=name)
    answer = call(given, children=[claim(given)])
    assert "Job" not in answer.kinds()
    ready = answer.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ConfigurationError")
    assert f"modelName {name} is no repository of the Hugging Face Hub (organisation/name)" in ready["message"]
    assert "set source" in ready["message"]


@pytest.mark.parametrize(
    "given",
    [
        {"modelName": "org/na.me-v1.2"},
        {"modelName": "gpt2"},
        {"modelName": "hf://org/model@v1"},
        {"modelName": "https://huggingface.co/org/model"},
        {"modelName": "a model", "source": {"type": "gcs", "gcs": {"bucket": "bucket"}}},
        {"modelName": "a model", "downloadPolicy": "Never"},
        {"modelName": "a model", "source": {"type": "huggingface", "huggingface": {"repository": "org/m"}}},
    ],
)
def test_other_names_are_fetched(given: dict[str, Any]) -> None:
    assert "Job" in call(spec(**given), children=[claim(spec(**given))]).kinds()
