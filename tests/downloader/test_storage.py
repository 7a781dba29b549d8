"""The volume: what readers may see, what is removed, how much room there must be, and who may write."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.downloader import manifest as manifests
from app.downloader.errors import DownloadError
from app.downloader.run import Run
from app.downloader.storage import Volume, human
from app.downloader.storage import volume as volumes
from tests.downloader.conftest import download, files_of, task
from tests.downloader.hosted import FOLDER, SOURCE, Hosted, fetch, folders, move_on
from tests.downloader.models import model
from tests.downloader.server import Trouble


@pytest.mark.usefixtures("files")
def test_a_folder_that_is_not_ours_is_left_alone(volume: Path) -> None:
    (volume / FOLDER).mkdir()
    (volume / FOLDER / "precious").write_text("data")
    report = fetch(volume)
    assert report.path.startswith(f"{FOLDER}@")
    assert (volume / FOLDER / "precious").read_text() == "data"


def test_readers_see_a_whole_model_or_none_at_every_moment(
    hub: Hosted, volume: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[set[str]] = []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        views.append({it.name for it in volume.iterdir() if not it.name.startswith(".")})
        moved = rename(path, target)
        if (volume / FOLDER).exists():
            assert files_of(volume / FOLDER) == files
            assert manifests.read(volume / FOLDER)
        return moved

    monkeypatch.setattr(Path, "rename", watched)
    fetch(volume)
    assert len(views) > len(files)


@pytest.mark.usefixtures("files")
def test_the_manifest_says_what_came_from_where(volume: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    Run(task(volume, "huggingface", SOURCE), now=lambda: moment)()
    raw = json.loads((volume / FOLDER / ".inference-manifest.json").read_text())
    assert raw["source"] == "huggingface://org/tiny@main"
    assert (raw["revision"], raw["time"], raw["model"]) == ("a" * 40, "2026-01-02T03:04:05Z", "org/tiny")
    assert {it["name"] for it in raw["files"]} == set(model())
    assert all(it.get("sha256") or it.get("git-sha1") for it in raw["files"])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 1}', "[" * 100_000, '{"version": 2}', '{"version": 1, "files": [{"name": "../x"}]}'],
)
def test_a_manifest_that_makes_no_sense_is_none(text: str) -> None:
    assert manifests.parse(text) is None


@pytest.mark.usefixtures("files")
def test_a_manifest_survives_reading_and_writing(volume: Path) -> None:
    fetch(volume)
    found = manifests.read(volume / FOLDER)
    assert found
    assert manifests.parse(manifests.to_json(found)) == found
    outside = replace(found, files=(replace(found.files[0], name="../x"),))
    assert manifests.parse(manifests.to_json(outside)) is None


def test_old_folders_of_the_model_are_removed_beyond_those_to_keep(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    for number, letter in enumerate("abcd"):
        move_on(hub, {**files, "config.json": letter.encode()}, letter)
        Run(
            task(volume, "huggingface", SOURCE, policy="Always"), now=partial(datetime, 2026, 1, 1 + number, tzinfo=UTC)
        )()
    download(volume, "huggingface", SOURCE, model="other", path="other-1")
    report = fetch(volume, policy="Always", keep=1)
    left = {found: (volume / found / "config.json").read_bytes() for found in folders(volume)}
    assert left.pop("other-1") == b"d", "another model's folder is not ours to remove"
    assert left.pop(report.path) == b"d"
    assert list(left.values()) == [b"c"]


@pytest.mark.parametrize(
    ("maker", "stays"),
    [
        pytest.param("ns/other", True, id="another cache's"),
        pytest.param("ns/mine", False, id="ours, of an earlier revision"),
        pytest.param("", True, id="of an earlier version"),
    ],
)
def test_only_folders_that_this_cache_made_are_removed(
    hub: Hosted, volume: Path, files: dict[str, bytes], maker: str, stays: bool
) -> None:
    fetch(volume, cache=maker, path="tiny-5678", keep=0)
    move_on(hub, {**files, "config.json": b"{}"})
    fetch(volume, cache="ns/mine", keep=0)
    assert (volume / "tiny-5678").exists() is stays


def test_an_earlier_content_of_the_same_path_is_removed_also_without_the_name_of_a_cache(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    fetch(volume)
    move_on(hub, {**files, "config.json": b"{}"})
    report = fetch(volume, cache="ns/mine", policy="Always", keep=0)
    assert folders(volume) == [report.path]


@pytest.mark.usefixtures("files")
def test_nothing_is_left_in_staging_when_it_is_done(volume: Path) -> None:
    fetch(volume)
    assert [path for path in (volume / ".staging").rglob("*") if path.is_file()] == []


def test_parts_of_content_that_is_no_longer_wanted_are_removed(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    hub[1].troubles = [Trouble("model.safetensors", cut_at=100_000), Trouble("model.safetensors", times=99, status=503)]
    with pytest.raises(DownloadError):
        fetch(volume, retry_seconds=0.1)
    assert list((volume / ".staging" / FOLDER / "parts").iterdir())
    hub[1].troubles = [Trouble("model.safetensors", times=99, status=503)]
    move_on(hub, {**files, "model.safetensors": model(100_000, seed=5)["model.safetensors"]})
    with pytest.raises(DownloadError):
        fetch(volume, retry_seconds=0.1)
    parts = [path.stat().st_size for path in (volume / ".staging" / FOLDER / "parts").iterdir()]
    assert max(parts, default=0) == 0


@pytest.mark.usefixtures("files")
def test_downloads_that_nobody_came_back_to_are_removed_after_two_weeks(volume: Path) -> None:
    for name, age in (("old-1", 15), ("new-1", 13)):
        (volume / ".staging" / name).mkdir(parents=True)
        (volume / ".staging" / name / "part").write_bytes(b"x")
        for path in (volume / ".staging" / name / "part", volume / ".staging" / name):
            os.utime(path, (time.time() - age * 86_400,) * 2)
    fetch(volume)
    assert [path.name for path in (volume / ".staging").iterdir()] == ["new-1"]


@pytest.mark.usefixtures("files")
def test_a_volume_that_is_too_small_is_refused_before_anything_is_fetched(
    hub: Hosted, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "free_bytes", lambda _: volumes.MARGIN + 100_000)
    with pytest.raises(DownloadError) as caught:
        fetch(volume)
    missing = sum(map(len, model().values())) - 100_000
    assert f"too small by {human(missing)}" in caught.value.error.message
    assert (caught.value.error.error_class, caught.value.exit_code) == ("Resource", 1)
    assert hub[1].sent_of("/resolve/") == 0


def test_what_would_outgrow_the_limit_of_the_pods_own_volume_is_refused(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    """The kubelet would evict the pod, and the next one fetch the same again."""
    total = sum(map(len, files.values()))
    limit = volumes.MARGIN + total - 1000
    with pytest.raises(DownloadError) as caught:
        fetch(volume, volume_bytes=limit)
    assert "too small by 1000 B" in caught.value.error.message
    assert (caught.value.error.reason, hub[1].sent_of("/resolve/")) == ("VolumeTooSmall", 0)
    fetch(volume, volume_bytes=limit + (1 << 20))
    move_on(hub, {**files, "config.json": b"{}"})
    with pytest.raises(DownloadError, match="VolumeTooSmall"):
        fetch(volume, volume_bytes=total, policy="Always")


def _hold(path: Path, held: Any) -> None:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held.set()
        time.sleep(3600)


@pytest.mark.usefixtures("files")
def test_one_writer_at_a_time_and_a_killed_one_lets_go(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    (volume / ".locks").mkdir()
    other = context.Process(target=_hold, args=(volume / ".locks" / FOLDER, held), daemon=True)
    other.start()
    try:
        assert held.wait(120)
        monkeypatch.setattr(Volume.lock.__wrapped__, "__defaults__", (0.1,))  # type: ignore[attr-defined]
        with pytest.raises(DownloadError) as caught:
            fetch(volume)
        assert (caught.value.error.reason, caught.value.exit_code) == ("Locked", 1)
    finally:
        other.kill()
        other.join()
    assert fetch(volume).files_done == 3


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_volume_without_locks_is_filled_and_that_is_said(
    volume: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """NFS 3 without lockd, Lustre without the option flock."""
    monkeypatch.setattr(fcntl, "flock", refusing(code))
    report = fetch(volume)
    assert report.path
    assert "has no file locks" in report.warning
    assert "NFS 3 with lockd" in report.warning


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_volume_that_refuses_locks_is_told_as_that(volume: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(code))
    with pytest.raises(DownloadError) as caught:
        fetch(volume)
    assert (caught.value.error.reason, caught.value.exit_code) == ("LockRefused", 1)
    assert os.strerror(code) in caught.value.error.message


def refusing(code: int) -> Callable[[int, int], None]:
    def flock(_: int, __: int) -> None:
        raise OSError(code, os.strerror(code))

    return flock
