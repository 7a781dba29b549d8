"""A small model on the Hub, and what becomes of it on a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.contracts.download import DownloadReport
from tests.downloader.conftest import REPOSITORY, download, files_of
from tests.downloader.hub import Hub, Repository
from tests.downloader.server import Server

SOURCE = {"repository": REPOSITORY}
FOLDER = "tiny-1234"
Hosted = tuple[Hub, Server]


def fetch(volume: Path, **changes: Any) -> DownloadReport:
    return download(volume, "huggingface", SOURCE, **changes)


def move_on(hub: Hosted, content: dict[str, bytes], letter: str = "b") -> None:
    """The branch gets another commit."""
    hub[0].repositories[REPOSITORY] = Repository(content, commit=letter * 40)


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {name: ((folder / name).stat().st_ino, content) for name, content in files_of(folder).items()}


def folders(volume: Path) -> list[str]:
    return sorted(path.name for path in volume.iterdir() if not path.name.startswith("."))
