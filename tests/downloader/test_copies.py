"""Further copies of a model: filled from the first, verified, and never worse than it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.downloader.errors import DownloadError
from tests.downloader.conftest import files_of
from tests.downloader.hosted import FOLDER, Hosted, fetch, folders, move_on
from tests.downloader.models import model


def test_a_copy_from_another_volume_is_verified_and_stands_where_its_original_does(
    hub: Hosted, volume: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    fetch(volume)
    move_on(hub, {**files, "config.json": b'{"new": true}'})
    original = fetch(volume, policy="Always")
    hub[1].asked.clear()
    second = tmp_path / "second"
    second.mkdir()
    copy = fetch(second, copy_from=volume)
    assert files_of(second / copy.path) == files_of(volume / original.path)
    assert (copy.path, copy.revision, copy.verified_files) == (original.path, original.revision, 3)
    assert hub[1].asked == []


@pytest.mark.usefixtures("files")
def test_a_damaged_original_is_not_copied(volume: Path, tmp_path: Path) -> None:
    fetch(volume)
    (volume / FOLDER / "tokenizer.json").write_bytes(b'{"version": "2.0"}')
    second = tmp_path / "second"
    second.mkdir()
    with pytest.raises(DownloadError) as caught:
        fetch(second, copy_from=volume)
    assert caught.value.error.reason == "HashMismatch"
    assert folders(second) == []


@pytest.mark.usefixtures("files")
def test_a_symlink_in_the_original_is_not_followed(volume: Path, tmp_path: Path) -> None:
    fetch(volume)
    (volume / FOLDER / "config.json").unlink()
    (volume / FOLDER / "config.json").symlink_to("/etc/hostname")
    second = tmp_path / "second"
    second.mkdir()
    with pytest.raises(DownloadError):
        fetch(second, copy_from=volume, retry_seconds=0.1)
    assert folders(second) == []


def test_an_original_that_is_not_there_yet_is_waited_for(volume: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(volume, copy_from=tmp_path, retry_seconds=0.1)
    assert (caught.value.error.reason, caught.value.exit_code) == ("CopySourceMissing", 1)


@pytest.mark.parametrize("by_hand", [True, False], ids=["filled by hand", "downloaded"])
def test_a_further_copy_is_filled_from_the_first_with_never_too(
    hub: Hosted, volume: Path, files: dict[str, bytes], tmp_path: Path, by_hand: bool
) -> None:
    fetch(volume)
    if by_hand:
        (volume / FOLDER / ".inference-manifest.json").unlink()
    hub[1].asked.clear()
    second = tmp_path / "second"
    second.mkdir()
    for _ in range(2):
        assert fetch(second, policy="Never", copy_from=volume).path == FOLDER
    assert files_of(second / FOLDER) == files
    assert list((second / ".staging").iterdir()) == []
    assert hub[1].asked == []


@pytest.mark.usefixtures("files")
def test_never_finds_a_wrong_byte_in_a_further_copy_and_copies_it_anew(volume: Path, tmp_path: Path) -> None:
    fetch(volume)
    second = tmp_path / "second"
    second.mkdir()
    fetch(second, copy_from=volume)
    (second / FOLDER / "config.json").write_bytes(model()["config.json"][:-1] + b"?")
    report = fetch(second, policy="Never", copy_from=volume)
    assert files_of(second / report.path) == model()
