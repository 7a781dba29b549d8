"""Files and folders: what is written survives a power cut, and what cannot be removed is said and left."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


def human(count: int) -> str:
    """Bytes as people read them."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def free_bytes(folder: Path) -> int:
    """What an unprivileged process may still write."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def used_bytes(folder: Path) -> int:
    """What the files below take; one with several names counts once."""
    places = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sum({(it.st_dev, it.st_ino): it.st_blocks * 512 for path in places if (it := _lstat(path))}.values())


def write_durably(path: Path, text: str) -> None:
    """Replace a file by this text in one step that survives a power cut."""
    partial = path.with_name(f".{path.name}.new")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


sync_folder = sync_file


def sync_folders(root: Path) -> None:
    """The names in a folder and all below it are on disk."""
    for folder, _, _ in os.walk(root):
        sync_folder(Path(folder))


def link_or_move(source: Path, target: Path) -> None:
    """A second name for a file; where the file system has none, the other name."""
    try:
        os.link(source, target)
    except OSError:
        source.rename(target)


def remove_others(folder: Path, names: Set[str]) -> None:
    for entry in entries_of(folder):
        if entry.name not in names:
            remove(entry)


def entries_of(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


def size_of(path: Path) -> int | None:
    found = _lstat(path)
    return found.st_size if found else None


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def newest(folder: Path) -> float:
    """When something below was last written."""
    times = [folder.lstat().st_mtime]
    for root, _, files in os.walk(folder):
        times.append(Path(root).lstat().st_mtime)
        for name in files:
            with suppress(OSError):
                times.append((Path(root) / name).lstat().st_mtime)
    return max(times)


def remove(path: Path) -> None:
    """Remove a file or a folder; what cannot be removed is said and left."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=_log_error)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error.strerror)


def _log_error(_: Callable[..., object], path: str, info: object) -> None:
    log.warning("cannot remove %s", path)
