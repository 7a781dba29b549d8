"""Finished folders: how one becomes visible, which one readers are led to, and which are removed.

    <path>/                 finished: has a manifest. Readers look here, or
    <path>@<digest>/        here, when the content changed while <path> was there already
    .current/<path>         name of the folder that was finished last
    .trash/<path>/          folders on their way out

A finished folder is renamed into place when everything in it is on disk, so readers see a whole model or none. Nothing
below a finished folder is ever written again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.downloader import manifest as manifests
from app.downloader.checksums import file_checksum
from app.downloader.listing import digest
from app.downloader.manifest import Entry, Manifest, ModelSummary
from app.downloader.names import MANIFEST
from app.downloader.storage.disk import entries_of, remove, sync_folder, sync_folders, write_durably

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """A folder that readers may read."""

    name: str
    manifest: Manifest


class FinishedFolders:
    """The finished folders of a volume, as one path sees them: its own, and those of others."""

    def __init__(self, root: Path, path: str) -> None:
        self._root, self._path = root, path

    def current(self) -> Finished | None:
        """The folder that was finished last, if it still is one."""
        with suppress(OSError):
            name = (self._root / ".current" / self._path).read_text()
            if self.is_ours(name) and (found := self.find(name)):
                return found
        return self.find(self._path)

    def find(self, name: str) -> Finished | None:
        found = manifests.read(self._root / name)
        return Finished(name, found) if found else None

    def with_content(self, content: str) -> Finished | None:
        """A finished folder of exactly this content (Listing.digest) whose files have their sizes."""
        for name in (self._path, f"{self._path}@{content}"):
            found = self.find(name)
            if found and found.manifest.digest == content and self._has_sizes(found):
                return found
        return None

    def with_files(self, entries: Sequence[Entry]) -> Finished | None:
        """A finished folder of this path that has these very files, by their hashes."""
        wanted = {(it.name, it.checksum) for it in entries}
        same = (it for it in self.siblings() if {(file.name, file.checksum) for file in it.manifest.files} == wanted)
        return next((it for it in same if self._has_sizes(it)), None)

    def siblings(self) -> list[Finished]:
        """All finished folders of this path."""
        return [found for name in self._folders() if self.is_ours(name) and (found := self.find(name))]

    def all(self) -> list[Finished]:
        """All finished folders of this volume, whoever made them."""
        return [found for name in self._folders() if (found := self.find(name))]

    def describe_existing(self, model: str) -> Finished | None:
        """The folder at this path with the manifest that it would have, nothing being written; None when it has no
        files. There is nothing to compare the files with but themselves."""
        folder = self._root / self._path
        found = [it for it in folder.rglob("*") if it.is_file()] if folder.is_dir() else []
        names = sorted(it.relative_to(folder).as_posix() for it in found)
        entries = tuple(own_entry(name, folder / name) for name in names)
        return Finished(self._path, Manifest(model, "", "", "", "", entries, ModelSummary())) if entries else None

    def publish(self, staged: Path, manifest: Manifest, folder: str = "") -> Finished:
        """Make the staged folder visible, whole; the name is that folder's, or one beside it when that is taken."""
        write_durably(staged / MANIFEST, manifests.to_json(manifest))
        sync_folders(staged)
        name = folder if self.is_ours(folder) else self._path
        if os.path.lexists(self._root / name):
            name = f"{self._path}@{manifest.digest}"
        if os.path.lexists(self._root / name):
            # Damaged, else it would have been taken as it is. Readers keep what they have open.
            self._discard(self._root / name)
        staged.rename(self._root / name)
        sync_folder(self._root)
        self.point_to(name)
        return Finished(name, manifest)

    def point_to(self, name: str) -> None:
        """Make this finished folder the current one."""
        (self._root / ".current").mkdir(exist_ok=True)
        write_durably(self._root / ".current" / self._path, name)

    def prune(self, model: str, cache: str, keep: int, published: str) -> list[str]:
        """Remove the oldest finished folders that this cache made of this model beyond `keep`, never the published one.

        Another cache may have the same model on this volume, at another revision, and pods that read it.
        """
        others = [found for found in self.all() if found.name != published]
        same = sorted((it for it in others if self._made_by(cache, model, it)), key=_age, reverse=True)
        for old in same[keep:]:
            log.info("removing %s: %d other finished folders of this model are kept", old.name, keep)
            self._discard(self._root / old.name)
        return [old.name for old in same[keep:]]

    def is_ours(self, name: str) -> bool:
        """Whether a folder is this path, or another content of it."""
        base, separator, content = name.partition("@")
        return base == self._path and (not separator or content.isalnum())

    def empty_trash(self) -> None:
        remove(self._trash)

    def _folders(self) -> list[str]:
        return [it.name for it in entries_of(self._root) if not it.name.startswith(".") and not it.is_symlink()]

    @property
    def _trash(self) -> Path:
        return self._root / ".trash" / self._path

    def _discard(self, folder: Path) -> None:
        """Take a folder out of sight in one step, then remove it."""
        self._trash.mkdir(parents=True, exist_ok=True)
        hidden = self._trash / digest(folder.name, str(time.time_ns()))
        folder.rename(hidden)
        remove(hidden)

    def _has_sizes(self, found: Finished) -> bool:
        return not manifests.damaged(self._root / found.name, found.manifest)

    def _made_by(self, cache: str, model: str, found: Finished) -> bool:
        """A manifest that names no cache is of an earlier version: its folder is ours where the path is."""
        maker = found.manifest.cache
        return found.manifest.model == model and (maker == cache if maker else self.is_ours(found.name))


def own_entry(name: str, path: Path) -> Entry:
    """An entry with our own hash, where the source gave none."""
    return Entry(name, path.stat().st_size, file_checksum(path, "sha256"), from_source=False)


def _age(found: Finished) -> str:
    return found.manifest.time
