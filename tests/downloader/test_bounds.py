"""Answers without an end: every listing stops while it is read."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from app.downloader import names
from app.downloader.errors import DownloadError
from app.downloader.sources import huggingface, s3
from tests.downloader.conftest import REPOSITORY, download
from tests.downloader.server import Answer, Asked, Backend, Server

PAGE = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")


def refused(volume: Path, kind: str, source: dict[str, Any]) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        download(volume, kind, source, retry_seconds=0.1)
    return caught.value


def endless_s3(size: int) -> Backend:
    """A store that always has another page, of so many keys."""
    numbers = itertools.count()

    def answer(_: Asked, /) -> Answer:
        content = "".join(f"<Contents><Key>m/{next(numbers)}</Key><Size>1</Size></Contents>" for _ in range(size))
        return Answer(200, (PAGE.format(next(numbers)) + content + "</ListBucketResult>").encode())

    return answer


@pytest.mark.parametrize("size", [500, 0], ids=["of keys", "of nothing"])
def test_a_bucket_without_an_end(volume: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(names, "MOST_FILES", 2_000)
    monkeypatch.setattr(s3, "MOST_PAGES", 10)
    with Server(endless_s3(size)).running() as server:
        failure = refused(volume, "s3", {"bucket": "models", "key": "m/", "endpoint": server.url})
        assert (failure.error.reason, failure.exit_code) == ("ListingTooLong", 42)
        assert len(server.asked) < 15


@pytest.mark.parametrize("status", [200, 403], ids=["page", "error"])
def test_a_page_without_an_end(volume: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(s3, "MOST_ANSWER", 1 << 20)
    with Server(lambda asked: Answer(status, b"<" + b"x" * (64 << 20))).running() as server:
        failure = refused(volume, "s3", {"bucket": "models", "key": "m/", "endpoint": server.url})
        assert failure.error.reason == "ListingTooLong"
        assert sum(server.sent.values()) < 32 << 20, "it is not read to its end"


def test_long_names_count_too(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_NAME_BYTES", 1_000)
    with Server(endless_s3(500)).running() as server:
        failure = refused(volume, "s3", {"bucket": "models", "key": "m/", "endpoint": server.url})
    assert failure.error.reason == "ListingTooLong"


def hub_answer(count: int) -> Answer:
    siblings = [{"rfilename": f"{number}.safetensors", "size": 1} for number in range(count)]
    info = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": "a" * 40, "siblings": siblings, "tags": []}
    return Answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"})


@pytest.mark.parametrize(("most_files", "most_bytes"), [(100, 64 << 20), (100_000, 10_000)], ids=["files", "bytes"])
def test_a_repository_of_too_much(
    volume: Path, monkeypatch: pytest.MonkeyPatch, most_files: int, most_bytes: int
) -> None:
    monkeypatch.setattr(names, "MOST_FILES", most_files)
    monkeypatch.setattr(huggingface, "MOST_ANSWER", most_bytes)
    with Server(lambda asked: hub_answer(1_000)).running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        failure = refused(volume, "huggingface", {"repository": REPOSITORY})
    assert (failure.error.reason, failure.exit_code) == ("ListingTooLong", 42)


def test_a_google_bucket_without_an_end(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_FILES", 500)
    numbers = itertools.count()

    def answer(asked: Asked) -> Answer:
        items = [{"name": f"m/{next(numbers)}", "bucket": "models", "size": "1", "generation": "1"} for _ in range(100)]
        page = {"kind": "storage#objects", "nextPageToken": str(next(numbers)), "items": items}
        return Answer(200, json.dumps(page).encode(), {"Content-Type": "application/json"})

    with Server(answer).running() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        failure = refused(volume, "gcs", {"bucket": "models", "prefix": "m/"})
        assert failure.error.reason == "ListingTooLong"
        assert len(server.asked) < 10
