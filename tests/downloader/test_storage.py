"""The volume: what readers may see, what is fetched again, what is removed, and who may write."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.downloader import manifest as manifests
from app.downloader import storage
from app.downloader.fault import Fault
from app.downloader.run import Run
from app.downloader.storage import Volume, human
from app.kube.download import DownloadReport
from tests.downloader.conftest import REPOSITORY, download, files_of, task
from tests.downloader.hub import Hub, Repository
from tests.downloader.models import model
from tests.downloader.server import Server, Trouble

SOURCE = {"repository": REPOSITORY}
FOLDER = "tiny-1234"
Hosted = tuple[Hub, Server]


@pytest.fixture
def files(hub: Hosted) -> dict[str, bytes]:
    content = model()
    hub[0].repositories[REPOSITORY] = Repository(content)
    return content


def fetch(volume: Path, **changes: Any) -> DownloadReport:
    return download(volume, "huggingface", SOURCE, **changes)


def move_on(hub: Hosted, content: dict[str, bytes], letter: str = "b") -> None:
    """The branch gets another commit."""
    hub[0].repositories[REPOSITORY] = Repository(content, commit=letter * 40)


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {name: ((folder / name).stat().st_ino, content) for name, content in files_of(folder).items()}


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
    with pytest.raises(Fault) as caught:
        fetch(volume, policy="Never")
    assert (caught.value.error.reason, caught.value.exit_code) == ("VerificationFailed", 42)
    assert "1 of 3 files" in caught.value.error.message
    assert len(hub[1].asked) == asked


def test_never_says_that_there_is_nothing(volume: Path) -> None:
    with pytest.raises(Fault) as caught:
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
    with pytest.raises(Fault) as caught:
        fetch(volume, policy="Always")
    assert caught.value.error.reason == "VolumeNotWritable"


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


def test_finished_files_survive_when_another_one_changes_between_two_tries(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    hub[1].troubles = [Trouble("config.json", times=99, status=503)]
    with pytest.raises(Fault):
        fetch(volume, retry_seconds=0.5)
    hub[1].troubles = []
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
    hub[1].troubles = [Trouble("config.json", times=99, status=503)]
    with pytest.raises(Fault):
        fetch(volume, retry_seconds=0.5)
    staging = volume / ".staging" / FOLDER
    [folder] = [it for it in staging.iterdir() if it.name not in ("parts", "whole")]
    for it in (staging / "whole").iterdir():
        same = next(name for name, content in files.items() if content == it.read_bytes())
        it.rename(folder / same)
    hub[1].troubles = []
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
    monkeypatch.setattr(storage, "free_bytes", lambda _: storage.MARGIN)
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


@pytest.mark.usefixtures("files")
def test_nothing_is_left_in_staging_when_it_is_done(volume: Path) -> None:
    fetch(volume)
    assert [path for path in (volume / ".staging").rglob("*") if path.is_file()] == []


def test_parts_of_content_that_is_no_longer_wanted_are_removed(
    hub: Hosted, volume: Path, files: dict[str, bytes]
) -> None:
    hub[1].troubles = [Trouble("model.safetensors", cut_at=100_000), Trouble("model.safetensors", times=99, status=503)]
    with pytest.raises(Fault):
        fetch(volume, retry_seconds=0.1)
    assert list((volume / ".staging" / FOLDER / "parts").iterdir())
    hub[1].troubles = [Trouble("model.safetensors", times=99, status=503)]
    move_on(hub, {**files, "model.safetensors": model(100_000, seed=5)["model.safetensors"]})
    with pytest.raises(Fault):
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
    monkeypatch.setattr(storage, "free_bytes", lambda _: storage.MARGIN + 100_000)
    with pytest.raises(Fault) as caught:
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
    limit = storage.MARGIN + total - 1000
    with pytest.raises(Fault) as caught:
        fetch(volume, volume_bytes=limit)
    assert "too small by 1000 B" in caught.value.error.message
    assert (caught.value.error.reason, hub[1].sent_of("/resolve/")) == ("VolumeTooSmall", 0)
    fetch(volume, volume_bytes=limit + (1 << 20))
    move_on(hub, {**files, "config.json": b"{}"})
    with pytest.raises(Fault, match="VolumeTooSmall"):
        fetch(volume, volume_bytes=total, policy="Always")


def test_what_is_staged_already_needs_no_space_again(
    hub: Hosted, volume: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub[1].troubles = [Trouble("config.json", times=99, status=503)]
    with pytest.raises(Fault):
        fetch(volume, retry_seconds=0.5)
    hub[1].troubles = []
    monkeypatch.setattr(storage, "free_bytes", lambda _: storage.MARGIN + len(files["config.json"]))
    assert fetch(volume).files_done == 3


def _hold(path: Path, held: Any) -> None:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held.set()
        time.sleep(60)


@pytest.mark.usefixtures("files")
def test_one_writer_at_a_time_and_a_killed_one_lets_go(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    (volume / ".locks").mkdir()
    other = context.Process(target=_hold, args=(volume / ".locks" / FOLDER, held))
    other.start()
    try:
        assert held.wait(30)
        monkeypatch.setattr(Volume.lock.__wrapped__, "__defaults__", (0.1,))  # type: ignore[attr-defined]
        with pytest.raises(Fault) as caught:
            fetch(volume)
        assert (caught.value.error.reason, caught.value.exit_code) == ("Locked", 1)
    finally:
        other.kill()
        other.join()
    assert fetch(volume).files_done == 3


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
    with pytest.raises(Fault) as caught:
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
    with pytest.raises(Fault):
        fetch(second, copy_from=volume, retry_seconds=0.1)
    assert folders(second) == []


def test_an_original_that_is_not_there_yet_is_waited_for(volume: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        fetch(volume, copy_from=tmp_path, retry_seconds=0.1)
    assert (caught.value.error.reason, caught.value.exit_code) == ("CopySourceMissing", 1)


def folders(volume: Path) -> list[str]:
    return sorted(path.name for path in volume.iterdir() if not path.name.startswith("."))
