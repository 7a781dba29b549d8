"""What the downloader reports: facts of the model, faults by class, and when a download is tried or done again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.contracts.download import DownloadReport, ReportedError
from app.fit.catalog import find_model
from app.fit.model import parse_facts
from app.kube.conditions import parse_time
from app.settings import Settings
from tests.calls import NOW, Answer
from tests.modelcache.cache import (
    JUST_NOW,
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

DAILY = spec(downloadPolicy="Always", refreshInterval="24h")
MODEL = find_model("Qwen/Qwen3-8B")
PATH = str(call().status["path"])
DONE = DownloadReport(
    bytes_done=100, bytes_total=100, files_done=4, files_total=4, revision="abc", path=PATH, size_on_disk=2**30,
    verified_files=3, parameters=7, model=MODEL,
)  # fmt: skip


def with_error(error_class: str, **options: Any) -> Answer:
    error = ReportedError(error_class, "SomeReason", "Do this")
    return call(children=[claim(), failed(job(), error=error)], **options)


def done(report: DownloadReport = DONE) -> Answer:
    return call(children=[claim(), complete(job(), report=report)])


# what is known of the model


def test_the_facts_of_the_model_are_in_the_status_as_the_planner_reads_them() -> None:
    status = done().status
    assert parse_facts(status["model"]) == MODEL
    assert (status["version"], status["sizeOnDisk"], status["parameters"]) == ("abc", "1Gi", 7)


def test_what_is_known_of_the_model_stays_when_the_job_is_removed() -> None:
    before = done().status
    later = call(children=[claim()], status=before).status
    assert later == before


def test_why_nothing_is_known_is_said() -> None:
    report = DownloadReport(path=PATH, revision="abc", model_unknown="architecture X is not known here")
    assert done(report).status["modelUnknown"] == "architecture X is not known here"


@pytest.mark.parametrize(
    ("report", "status", "words"),
    [
        pytest.param(DONE, "True", "3 of 4 files have the hash that the source gives. Of the others", id="some"),
        pytest.param(replace(DONE, files_total=4, verified_files=4), "True", "4 of 4 files have the hash", id="all"),
        pytest.param(replace(DONE, verified_files=0), "Unknown", "gives no hashes", id="none"),
        pytest.param(replace(DONE, path=""), "Unknown", "did not report how it ended", id="only reports on the way"),
        pytest.param(DownloadReport(), "Unknown", "did not report how it ended", id="no report"),
    ],
)
def test_what_was_verified_is_said(report: DownloadReport, status: str, words: str) -> None:
    found = done(report).condition("Verified")
    assert found["status"] == status
    assert words in found["message"]


def test_content_that_changed_is_read_at_its_own_folder() -> None:
    moved = done(DownloadReport(path=f"{PATH}@1a2b"))
    assert moved.status["path"] == f"{PATH}@1a2b"
    assert call(children=[claim()], status=moved.status).status["path"] == f"{PATH}@1a2b"


@pytest.mark.parametrize(
    "said", [DownloadReport(), replace(DONE, path="", revision="def", size_on_disk=0)], ids=["none", "on the way"]
)
def test_a_download_whose_last_report_was_lost_leaves_what_is_known_as_it_was(said: DownloadReport) -> None:
    """A mid-run report names the new commit, and not where it is: the folder of the first download is the oldest."""
    before = done(replace(DONE, path=f"{PATH}@1a2b")).status
    again = {"inference.ai/refresh": "2"}
    lost = complete(job(annotations=again), JUST_NOW, said)
    status = call(children=[claim(), lost], annotations=again, status=before).status
    known = ("path", "version", "sizeOnDisk", "model", "parameters")
    assert {key: status[key] for key in known} == {key: before[key] for key in known}
    assert status["copies"][0]["path"] == f"{PATH}@1a2b"
    assert status["phase"] == "Ready"


def test_a_lost_last_report_says_nothing_of_a_volume_that_was_made_since() -> None:
    before = done(replace(DONE, path=f"{PATH}@1a2b")).status
    made = claim(created="2026-01-01T09:00:00Z")
    emptied = call(children=[made], status=before).status
    status = call(children=[made, complete(job(), JUST_NOW)], status=emptied).status
    assert (status["path"], status["version"]) == (PATH, "main")
    assert "model" not in status


@pytest.mark.parametrize("said", ["../../etc", "/etc", "weights", "{}/../..", "{}@../../etc", "{}@", "{}@a/b"])
def test_a_report_that_names_another_folder_moves_nobody_there(said: str) -> None:
    """Pods write reports, and services mount what the status names."""
    usual = call(children=filled()).status["path"]
    report = DownloadReport(path=said.format(usual), files_done=1)
    status = call(children=[claim(), complete(job(), report=report)]).status
    assert (status["path"], status["copies"][0]["path"]) == (usual, usual)


def test_progress_is_in_numbers() -> None:
    report = DownloadReport(bytes_done=40, bytes_total=160, bytes_per_second=5, files_done=1, files_total=9)
    status = call(children=[claim(), *access(), running(reporting(job(), report))]).status
    assert status["downloadProgress"] == 25
    assert status["download"] == {"bytes": 40, "total": 160, "bytesPerSecond": 5, "files": 1, "filesTotal": 9}


# faults


@pytest.mark.parametrize(
    ("error_class", "reason", "words", "seconds"),
    [
        ("Transient", "Failed", "It is tried again at 2026-01-01T12:00:20Z", 20.0),
        ("External", "Failed", "It is tried again at 2026-01-01T12:00:50Z", 50.0),
        ("Resource", "Failed", "It is tried again at 2026-01-01T12:01:50Z", 110.0),
        ("Configuration", "ConfigurationError", "It is not tried again by itself: edit the spec, or annotate", 0.0),
        ("Permanent", "Failed", "It is not tried again by itself", 0.0),
        ("Unheard", "Failed", "It is tried again at 2026-01-01T12:00:50Z", 50.0),
    ],
)
def test_a_fault_says_what_to_do_and_is_tried_again_by_its_class(
    error_class: str, reason: str, words: str, seconds: float
) -> None:
    answer = with_error(error_class)
    assert answer.conditions()["Ready"] == ("False", reason)
    assert answer.condition("Ready")["message"].startswith(f"SomeReason: Do this. {words}")
    assert answer.resync_after_seconds == seconds
    assert "Job" in answer.kinds(), "until then it is kept, for its report is the reason"


def test_a_fault_that_may_pass_is_tried_again_when_its_time_has_come() -> None:
    later = NOW + timedelta(minutes=5)
    gone = with_error("External", now=later)
    assert "Job" not in gone.kinds()
    assert "Job" in call(children=[claim()], status=gone.status, now=later).kinds()
    assert "Job" in with_error("Permanent", now=later).kinds()


# schedules


def test_a_download_is_done_again_when_its_interval_is_over() -> None:
    children = filled(DAILY)
    ready = call(DAILY, children=children)
    finished = parse_time("2026-01-01T06:00:00Z")
    assert finished
    due = finished + timedelta(hours=24)
    assert ready.resync_after_seconds == (due - NOW).total_seconds()
    early = call(DAILY, children=children, status=ready.status, now=due - timedelta(seconds=1))
    assert "Job" in early.kinds()
    gone = call(DAILY, children=children, status=ready.status, now=due)
    assert "Job" not in gone.kinds()
    assert gone.conditions()["Ready"] == ("True", "Successful")
    again = call(DAILY, children=[children[0]], status=gone.status, now=due)
    assert again.child("Job")["metadata"]["name"] == children[1]["metadata"]["name"]
    under_way = call(DAILY, children=[children[0], running(children[1] | {"status": {}})], status=again.status, now=due)
    assert under_way.conditions()["Ready"] == ("True", "Successful"), "what is there is read meanwhile"


def test_an_interval_that_admission_would_refuse_today_keeps_nobody_busy() -> None:
    given = DAILY | {"refreshInterval": "0s"}
    finished = parse_time("2026-01-01T06:00:00Z")
    assert finished
    soon = finished + timedelta(seconds=59)
    assert call(given, children=filled(given), now=soon).resync_after_seconds == 1.0


def test_without_an_interval_nothing_is_done_again() -> None:
    assert call(children=filled(), now=NOW + timedelta(days=999)).resync_after_seconds == 0.0


# credentials


def test_a_secret_of_the_namespace_is_used_where_the_source_names_none() -> None:
    settings = Settings(token_secret="hub")
    variables = env(call(children=[claim()], settings=settings))
    assert variables["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "token", "optional": True}}
    assert "INFERENCE_SECRET" not in variables, "it may be missing"


def test_the_downloader_knows_the_secret_whose_absence_it_must_tell() -> None:
    source = {"type": "huggingface", "huggingface": {"repository": "org/tiny", "tokenSecret": "mine"}}
    given = spec(source=source)
    variables = env(call(given, children=[claim(given)], settings=Settings(token_secret="hub")))
    assert variables["INFERENCE_SECRET"] == "mine"
    assert variables["HF_TOKEN"]["secretKeyRef"]["name"] == "mine"


def test_downloads_have_the_variables_of_the_settings_as_they_are_written() -> None:
    """A mirror of the Hub and a proxy, on sites without a way to the internet."""
    chosen = {"HF_ENDPOINT": "https://hub.example", "HTTPS_PROXY": "http://$(USER):3128"}
    variables = env(call(children=[claim()], settings=Settings(downloader_env=chosen)))
    assert variables["HF_ENDPOINT"] == "https://hub.example"
    assert variables["HTTPS_PROXY"] == "http://$$(USER):3128", "the kubelet expands what is not escaped"
    assert variables["INFERENCE_MODEL_NAME"]


def test_other_variables_download_nothing_anew() -> None:
    given = filled()
    changed = Settings(downloader_env={"HF_ENDPOINT": "https://another.example"})
    assert call(children=given, settings=changed).child("Job") == call(children=given).child("Job")


def env(answer: Answer) -> dict[str, Any]:
    [container] = answer.child("Job")["spec"]["template"]["spec"]["containers"]
    return {it["name"]: it.get("value", it.get("valueFrom")) for it in container["env"]}


def test_a_try_that_changes_nothing_ends_the_job_at_once() -> None:
    rules = call(children=[claim()]).child("Job")["spec"]["podFailurePolicy"]["rules"]
    assert rules[1] == {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}


def test_a_pod_that_a_drained_node_ended_is_no_failed_try() -> None:
    rules = call(children=[claim()]).child("Job")["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_the_downloader_knows_whose_folders_it_makes() -> None:
    assert env(call(children=[claim()]))["INFERENCE_MODEL_CACHE"] == "ns/demo"


@pytest.mark.parametrize(("keep", "told"), [(None, None), (0, "0"), (3, "3")])
def test_earlier_folders_stay_unless_the_settings_say_how_many(keep: int | None, told: str | None) -> None:
    """What runs may read one of them."""
    variables = env(call(children=[claim()], settings=Settings(keep_revisions=keep)))
    assert variables.get("INFERENCE_KEEP_REVISIONS") == told
