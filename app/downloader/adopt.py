"""Files that no source vouches for: our own hash, and folders that somebody else filled."""

from __future__ import annotations

from pathlib import Path

from app.downloader.checksums import file_checksum
from app.downloader.manifest import Entry, Manifest, ModelSummary
from app.downloader.storage import Finished


def own_entry(name: str, path: Path) -> Entry:
    """An entry with our own hash, where the source gave none."""
    return Entry(name, path.stat().st_size, file_checksum(path, "sha256"), from_source=False)


def find_adopted(root: Path, path: str, model: str) -> Finished | None:
    """The folder with the manifest that it would have, nothing being written; None when it has no files.

    There is nothing to compare the files with but themselves.
    """
    folder = root / path
    found = [it for it in folder.rglob("*") if it.is_file()] if folder.is_dir() else []
    names = sorted(it.relative_to(folder).as_posix() for it in found)
    entries = tuple(own_entry(name, folder / name) for name in names)
    return Finished(path, Manifest(model, "", "", "", "", entries, ModelSummary())) if entries else None
