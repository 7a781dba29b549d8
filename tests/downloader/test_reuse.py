"""What is on the volume already is not fetched again: files of earlier tries, and of other finished folders."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from app.downloader.errors import DownloadError
from app.downloader.storage import volume as volumes
from tests.downloader.conftest import files_of
from tests.downloader.hosted import FOLDER, Hosted, fetch, move_on
from tests.downloader.server import Trouble


def fetch_all_but_the_config(hub: Hosted, volume: Path) -> None:
    """A try that ends when all other files are finished."""
    hub[1].troubles = [Trouble("config.json", times=99, status=503)]
    with pytest.raises(DownloadError):
        fetch(volume, retry_seconds=1.5)
    hub[1].troubles = []


def test_finished_files_survive_when_another_one_changes_between_two_tries(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    fetch_all_but_the_config(hub, volume)
    new = {**files, "config.json": b'{"new": true}'}
    move_on(hub, new)
    hub[1].sent.clear()
    report = fetch(volume)
    assert files_of(volume / report.path) == new
    assert hub[1].sent_of("/resolve/") == len(new["config.json"])


def test_finished_files_that_an_earlier_version_staged_are_taken(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    """It had them in the folder on its way."""
    fetch_all_but_the_config(hub, volume)
    staging = volume / ".staging" / FOLDER
    [folder] = [it for it in staging.iterdir() if it.name not in ("parts", "whole")]
    for it in (staging / "whole").iterdir():
        same = next(name for name, content in files.items() if content == it.read_bytes())
        it.rename(folder / same)
    hub[1].sent.clear()
    fetch(volume)
    assert files_of(volume / FOLDER) == files
    assert hub[1].sent_of("/resolve/") == len(files["config.json"])


def test_a_file_system_without_hard_links_does_too(
    hub: Hosted, volume: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", refuse)
    fetch(volume)
    move_on(hub, {**files, "config.json": b"{}"})
    report = fetch(volume, policy="Always")
    assert files_of(volume / report.path) == {**files, "config.json": b"{}"}
    assert files_of(volume / FOLDER) == files


@pytest.mark.usefixtures("files")
def test_the_same_commit_by_another_name_fetches_nothing_and_needs_no_space(
    hub: Hosted, volume: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(volume, path="tiny-main")
    hub[1].sent.clear()
    monkeypatch.setattr(volumes, "free_bytes", lambda _: volumes.MARGIN)
    report = fetch(volume, path="tiny-commit")
    assert files_of(volume / report.path) == files
    assert hub[1].sent_of("/resolve/") == 0


@pytest.mark.parametrize("how", ["another byte", "shorter", "a link"])
def test_a_file_of_another_folder_that_is_not_what_it_was_is_not_taken(
    hub: Hosted, volume: Path, files: dict[str, bytes], tmp_path: Path, how: str
) -> None:
    fetch(volume, path="tiny-main")
    there, content = volume / "tiny-main" / "config.json", files["config.json"]
    there.unlink()
    if how == "a link":
        (tmp_path / "elsewhere").write_bytes(content)
        there.symlink_to(tmp_path / "elsewhere")
    else:
        there.write_bytes(content[:-1] + (b"?" if how == "another byte" else b""))
    before = there.read_bytes()
    report = fetch(volume, path="tiny-commit")
    assert files_of(volume / report.path) == files
    assert not (volume / report.path / "config.json").is_symlink()
    assert there.read_bytes() == before


def test_what_is_staged_already_needs_no_space_again(
    hub: Hosted, volume: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_all_but_the_config(hub, volume)
    monkeypatch.setattr(volumes, "free_bytes", lambda _: volumes.MARGIN + len(files["config.json"]))
    assert fetch(volume).files_done == 3
