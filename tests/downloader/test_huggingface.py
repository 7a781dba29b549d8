"""The Hub, by the real library against a server that speaks its API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from app.downloader.errors import DownloadError
from app.downloader.partial_file import CHUNK
from app.downloader.run import Run
from app.downloader.sources.huggingface import HuggingFaceSource
from app.downloader.task import Task
from tests.downloader.conftest import REPOSITORY, download, files_of, task
from tests.downloader.hub import Hub, Repository
from tests.downloader.models import model, safetensors
from tests.downloader.server import Server, Trouble

SOURCE = {"repository": REPOSITORY, "revision": "main"}
Hosted = tuple[Hub, Server]


LARGE = 2_000_000
"""Values of a weight that takes some dozen chunks."""


def hosted(hub: Hosted, weights: int = 100_000, **changes: Any) -> dict[str, bytes]:
    files = model(weights)
    hub[0].repositories[REPOSITORY] = Repository(files, **changes)
    return files


def refused(volume: Path, **changes: object) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        download(volume, "huggingface", {**SOURCE, **changes}, retry_seconds=0.1)
    assert not (volume / "tiny-1234").exists(), "a failed download shows nothing"
    return caught.value


def test_a_repository_arrives_whole_and_every_file_has_the_hash_that_the_hub_gives(hub: Hosted, volume: Path) -> None:
    files = hosted(hub)
    report = download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files
    assert (report.revision, report.path) == ("a" * 40, "tiny-1234")
    assert report.verified_files == report.files_done == report.files_total == 3
    assert report.size_on_disk == report.bytes_total == sum(map(len, files.values()))
    assert report.parameters == 100_000


def test_everything_is_fetched_at_the_commit_that_the_branch_had_at_first(hub: Hosted, volume: Path) -> None:
    hosted(hub)
    download(volume, "huggingface", SOURCE)
    resolved = [it.path for it in hub[1].asked if "/resolve/" in it.path]
    assert len(resolved) == 3
    assert all(f"/resolve/{'a' * 40}/" in path for path in resolved)


def test_no_weights_come_twice_in_different_formats(hub: Hosted, volume: Path) -> None:
    files = hosted(hub)
    more = {"pytorch_model.bin": b"x" * 9000, "original/consolidated.pth": b"y" * 9000, "model.gguf": b"z" * 9000}
    hub[0].repositories[REPOSITORY].files = {**files, **more}
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files


def test_who_names_patterns_gets_those_files(hub: Hosted, volume: Path) -> None:
    files = hosted(hub)
    hub[0].repositories[REPOSITORY].files = {**files, "pytorch_model.bin": b"x" * 9000}
    download(volume, "huggingface", {**SOURCE, "include": ["*.bin", "*.json"], "exclude": ["tokenizer*"]})
    assert sorted(files_of(volume / "tiny-1234")) == ["config.json", "pytorch_model.bin"]


def test_the_token_is_sent_and_never_written(
    hub: Hosted, volume: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hosted(hub, token="hf_valid")
    monkeypatch.setenv("HF_TOKEN", "hf_valid")
    report = download(volume, "huggingface", SOURCE)
    assert report.files_done == 3
    written = b"".join(path.read_bytes() for path in volume.rglob("*") if path.is_file())
    assert b"hf_valid" not in written
    assert "hf_valid" not in caplog.text + repr(report)


@pytest.mark.parametrize(
    ("changes", "token", "asked", "reason", "advice"),
    [
        ({"gated": True}, "hf_valid", {}, "GatedRepository", "accept its terms"),
        ({"token": "hf_valid"}, "", {}, "RepositoryNotFound", "tokenSecret"),
        ({}, "hf_wrong", {}, "Unauthorized", "valid one"),
        ({}, "", {"revision": "v9"}, "RevisionNotFound", "'v9'"),
        ({}, "", {"repository": "org/other"}, "RepositoryNotFound", "does not exist"),
        ({}, "", {"include": ["*.nothing"]}, "NothingToDownload", "patterns"),
    ],
)
def test_what_only_a_person_can_mend_is_said_at_once(
    hub: Hosted,
    volume: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    token: str,
    asked: dict[str, object],
    reason: str,
    advice: str,
) -> None:
    hosted(hub, **changes)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    failure = refused(volume, **asked)
    assert (failure.error.reason, failure.error.error_class, failure.exit_code) == (reason, "Configuration", 42)
    assert advice in failure.error.message
    assert not token or token not in failure.error.message


def test_a_file_that_is_forbidden_stops_the_download(hub: Hosted, volume: Path) -> None:
    hosted(hub)
    hub[1].troubles = [Trouble("model.safetensors", times=99, status=403)]
    assert refused(volume).error.reason == "Forbidden"


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_cut_connection_goes_on_where_it_broke(hub: Hosted, volume: Path, tenths: int) -> None:
    files = hosted(hub, weights=LARGE)
    size = len(files["model.safetensors"])
    hub[1].troubles = [Trouble("model.safetensors", cut_at=size * tenths // 10)]
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files
    assert size <= hub[1].sent_of("model.safetensors") <= size + CHUNK


def test_after_a_failed_run_the_next_one_fetches_only_what_is_missing(hub: Hosted, volume: Path) -> None:
    files = hosted(hub, weights=LARGE)
    size = len(files["model.safetensors"])
    hub[1].troubles = [
        Trouble("model.safetensors", cut_at=size // 2),
        Trouble("model.safetensors", times=99, status=503),
    ]
    failure = refused(volume)
    assert (failure.error.reason, failure.error.error_class, failure.exit_code) == ("SourceUnavailable", "External", 1)
    hub[1].troubles = []
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files
    assert hub[1].sent_of("/resolve/") <= sum(map(len, files.values())) + CHUNK


def test_a_rate_limit_is_waited_out(hub: Hosted, volume: Path) -> None:
    files = hosted(hub)
    hub[1].troubles = [
        Trouble("/api/models", status=429, headers={"Retry-After": "1"}),
        Trouble("config.json", status=429, headers={"Retry-After": "0"}),
    ]
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files


def test_server_errors_are_tried_again(hub: Hosted, volume: Path) -> None:
    files = hosted(hub)
    hub[1].troubles = [Trouble("/api/models", status=502), Trouble("tokenizer.json", status=500)]
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files


def test_a_slow_source_is_not_a_failed_one(hub: Hosted, volume: Path) -> None:
    files = hosted(hub)
    hub[1].troubles = [Trouble("model.safetensors", pause=0.005)]
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files


def test_a_wrong_byte_is_found_and_the_file_fetched_once_more(hub: Hosted, volume: Path) -> None:
    files = hosted(hub)
    hub[1].troubles = [Trouble("model.safetensors", corrupt_at=70_000)]
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files


def test_a_file_that_stays_wrong_is_never_shown(hub: Hosted, volume: Path) -> None:
    hosted(hub)
    hub[1].troubles = [Trouble("tokenizer.json", times=99, corrupt_at=3)]
    failure = refused(volume)
    assert (failure.error.reason, failure.error.error_class, failure.exit_code) == ("HashMismatch", "Permanent", 42)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\b", "a\0b", "x" * 300, "a//b"])
def test_names_that_lead_elsewhere_are_refused(hub: Hosted, volume: Path, name: str) -> None:
    files = hosted(hub)
    hub[0].repositories[REPOSITORY].files = {**files, name: b"evil"}
    failure = refused(volume)
    assert (failure.error.reason, failure.error.error_class) == ("UnsafeName", "Permanent")
    assert [path.name for path in volume.parent.rglob("*evil*")] == []


def test_files_too_large_for_plain_http_come_by_the_librarys_own_way(
    hub: Hosted, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = hosted(hub)

    def choose(it: Task) -> HuggingFaceSource:
        source = HuggingFaceSource(it.source, os.environ)
        source.http_limit = 50_000
        return source

    Run(task(volume, "huggingface", SOURCE), make_source=choose)()
    assert files_of(volume / "tiny-1234") == files
    assert hub[1].requests_of("model.safetensors", "HEAD"), "the library asks for the file's metadata first"


def test_damaged_weights_are_not_shown_even_when_their_hash_is_right(hub: Hosted, volume: Path) -> None:
    whole = safetensors({"w": ("F32", [64, 64])})
    hub[0].repositories[REPOSITORY] = Repository({"config.json": b"{}", "model.safetensors": whole[:-100]})
    failure = refused(volume)
    assert (failure.error.reason, failure.error.error_class) == ("BadWeights", "Permanent")
    assert "truncated" in failure.error.message


def test_weights_in_a_format_that_rocm_does_not_run_are_refused_before_anything_is_fetched(
    hub: Hosted, volume: Path
) -> None:
    hub[0].repositories[REPOSITORY] = Repository({"config.json": b"{}", "model-Q4.gguf": b"GGUF" * 2000})
    failure = refused(volume)
    assert failure.error.reason == "FormatUnsupported"
    assert "only as GGUF" in failure.error.message
    assert not hub[1].sent_of("/resolve/")
    asked = {**SOURCE, "include": ["*.gguf", "config.json"]}
    assert download(volume, "huggingface", asked).files_done == 2, "who names the files gets them"


def test_the_only_weights_of_a_folder_are_fetched_beside_better_formats_of_others(hub: Hosted, volume: Path) -> None:
    files = {**model(1000), "2_Dense/config.json": b"{}", "2_Dense/pytorch_model.bin": b"dense"}
    hub[0].repositories[REPOSITORY] = Repository({**files, "pytorch_model.bin": b"twice"})
    download(volume, "huggingface", SOURCE)
    assert files_of(volume / "tiny-1234") == files


@pytest.mark.parametrize("token", ["", "hf_valid"])
def test_a_gated_repository_names_its_terms_and_the_secret(
    hub: Hosted, volume: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    hosted(hub, gated=True)
    monkeypatch.setenv("HF_TOKEN", token)
    message = refused(volume).error.message
    assert f"{hub[1].url}/{REPOSITORY}" in message
    assert ("source.huggingface.tokenSecret" in message) is (not token)
