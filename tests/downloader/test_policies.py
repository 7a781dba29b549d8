"""Policies: what is fetched again, what is only verified, and what an update leaves as it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from app.downloader.errors import DownloadError
from tests.downloader.conftest import files_of
from tests.downloader.hosted import FOLDER, Hosted, fetch, move_on, seen
from tests.downloader.models import model


@pytest.mark.usefixtures("files")
def test_what_is_complete_needs_no_network(hub: Hosted, volume: Path) -> None:
    first = fetch(volume)
    asked = len(hub[1].asked)
    assert fetch(volume) == first
    assert len(hub[1].asked) == asked


@pytest.mark.usefixtures("files")
def test_always_asks_the_source_and_fetches_nothing_that_is_there(hub: Hosted, volume: Path) -> None:
    first = fetch(volume)
    sent = hub[1].sent_of("/resolve/")
    assert fetch(volume, policy="Always") == first
    assert hub[1].sent_of("/resolve/") == sent


def test_an_update_stands_beside_what_servers_read_and_never_changes_it(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    fetch(volume)
    before = seen(volume / FOLDER)
    new = {**files, "config.json": b'{"new": true}'}
    move_on(hub, new)
    report = fetch(volume, policy="Always")
    assert report.path.startswith(f"{FOLDER}@")
    assert report.revision == "b" * 40
    assert files_of(volume / report.path) == new
    assert seen(volume / FOLDER) == before


def test_an_update_fetches_only_what_changed(hub: Hosted, volume: Path, files: dict[str, bytes]) -> None:
    fetch(volume)
    hub[1].sent.clear()
    move_on(hub, {**files, "config.json": b'{"new": true}'})
    fetch(volume, policy="Always")
    assert hub[1].sent_of("/resolve/") == len(b'{"new": true}')


def test_after_an_update_the_new_folder_is_the_one_that_is_there(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    fetch(volume)
    move_on(hub, {**files, "config.json": b'{"new": true}'})
    new = fetch(volume, policy="Always")
    assert fetch(volume) == new
    assert fetch(volume, policy="Never") == new


def test_content_that_comes_back_is_not_fetched_again(hub: Hosted, volume: Path, files: dict[str, bytes]) -> None:
    first = fetch(volume)
    move_on(hub, {**files, "config.json": b'{"new": true}'})
    fetch(volume, policy="Always")
    move_on(hub, files, "a")
    assert fetch(volume, policy="Always") == first
    assert fetch(volume) == first


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_damaged_folder_is_made_anew_from_what_is_good_in_it(
    hub: Hosted, volume: Path, files: dict[str, bytes], damage: str
) -> None:
    fetch(volume)
    config = volume / FOLDER / "config.json"
    config.unlink() if damage == "missing" else config.write_bytes(b"{")
    hub[1].sent.clear()
    report = fetch(volume)
    assert files_of(volume / report.path) == files
    assert hub[1].sent_of("/resolve/") == len(files["config.json"])


def test_never_reads_every_byte_and_fetches_nothing(hub: Hosted, volume: Path, files: dict[str, bytes]) -> None:
    fetch(volume)
    asked = len(hub[1].asked)
    assert fetch(volume, policy="Never").verified_files == 3
    weights = volume / FOLDER / "model.safetensors"
    weights.write_bytes(files["model.safetensors"][:-1] + b"?")
    with pytest.raises(DownloadError) as caught:
        fetch(volume, policy="Never")
    assert (caught.value.error.reason, caught.value.exit_code) == ("VerificationFailed", 42)
    assert "1 of 3 files" in caught.value.error.message
    assert len(hub[1].asked) == asked


def test_never_says_that_there_is_nothing(volume: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(volume, policy="Never")
    assert (caught.value.error.reason, caught.value.exit_code) == ("NotOnVolume", 42)


def test_never_takes_a_folder_that_people_filled_by_hand(volume: Path) -> None:
    for name, content in model().items():
        (volume / FOLDER).mkdir(exist_ok=True)
        (volume / FOLDER / name).write_bytes(content)
    report = fetch(volume, policy="Never")
    assert (report.path, report.parameters, report.files_done) == (FOLDER, 100_000, 3)
    assert sorted(path.name for path in (volume / FOLDER).iterdir()) == sorted(model())


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
@pytest.mark.usefixtures("files")
def test_never_needs_no_right_to_write(volume: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fetch(volume)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert fetch(volume, policy="Never").files_done == 3
    with pytest.raises(DownloadError) as caught:
        fetch(volume, policy="Always")
    assert caught.value.error.reason == "VolumeNotWritable"
