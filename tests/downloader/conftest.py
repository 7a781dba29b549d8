"""Servers and runs of the downloader's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.contracts.download import ALLOWED_HOSTS, DownloadReport
from app.downloader import retry
from app.downloader.egress import Egress
from app.downloader.run import Run
from app.downloader.task import Task
from app.kube.hosts import Host
from tests.downloader.hub import Hub, Repository
from tests.downloader.models import model
from tests.downloader.server import Files, Server

REPOSITORY = "org/tiny"
LOOPBACK = Egress(allowed=(Host("127.0.0.1"),))
"""Where the tests' servers are."""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's credentials, proxies or metadata services."""
    for name in ("HF_TOKEN", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.05)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(ALLOWED_HOSTS, "127.0.0.1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hub, Server]]:
    """The Hub, and the server that it is."""
    backend = Hub()
    with Server(backend).running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield backend, server


@pytest.fixture
def files(hub: tuple[Hub, Server]) -> dict[str, bytes]:
    """A small model, which the Hub has."""
    content = model()
    hub[0].repositories[REPOSITORY] = Repository(content)
    return content


@pytest.fixture
def web() -> Iterator[tuple[Files, Server]]:
    backend = Files({})
    with Server(backend).running() as server:
        yield backend, server


def task(volume: Path, kind: str, source: dict[str, Any], **changes: Any) -> Task:
    values: dict[str, Any] = {
        "model": "org/tiny",
        "source_type": kind,
        "source": source,
        "volume": volume,
        "path": "tiny-1234",
        "retry_seconds": 20.0,
        "egress": LOOPBACK,
    }
    return Task(**{**values, **changes})


def download(volume: Path, kind: str, source: dict[str, Any], **changes: Any) -> DownloadReport:
    """One whole run in this process."""
    return Run(task(volume, kind, source, **changes))()


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything readers see in a folder, but the manifest."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".inference-manifest.json"
    }
