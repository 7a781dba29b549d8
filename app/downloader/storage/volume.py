"""One model's place on a volume: what is on its way there, what is finished, what room there is, and who may write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from app.downloader.errors import DownloadError
from app.downloader.listing import Listing, RemoteFile
from app.downloader.storage.disk import entries_of, free_bytes, human, newest, remove, used_bytes
from app.downloader.storage.lock import LOCK_SECONDS, locked
from app.downloader.storage.publish import FinishedFolders
from app.downloader.storage.staging import Staging
from app.kube.conditions import ErrorClass

MARGIN = 16 << 20
"""Bytes that stay free: folders, manifests, and the file system's own."""
STALE_SECONDS = 14 * 86_400.0
"""Unfinished downloads of other folders are removed when nothing wrote to them for so long."""
log = logging.getLogger(__name__)


class Volume:
    """One model's place on a volume."""

    def __init__(self, root: Path, path: str, limit: int | None = None) -> None:
        self.root, self.path, self._limit = root, path, limit
        self.staging = Staging(root, path)
        self.finished = FinishedFolders(root, path)
        self.warning = ""
        """What its owner should know of this volume; "" = nothing."""

    def free(self) -> int:
        """Bytes that may still be written."""
        free = free_bytes(self.root)
        return free if self._limit is None else min(free, self._limit - used_bytes(self.root))

    def require_space(self, listing: Listing, linked: Set[RemoteFile] = frozenset()) -> None:
        """Refuse when what is missing does not fit; `linked` are files that are on the volume already."""
        need, free = self.staging.missing(listing, linked) + MARGIN, self.free()
        if need > free:
            message = (
                f"The volume is too small by {human(need - free)}: {human(need)} are still to be written, "
                f"{human(free)} are free; enlarge it (spec.size) or remove what else is on it."
            )
            raise DownloadError(ErrorClass.RESOURCE, "VolumeTooSmall", message)

    def drop_staging(self) -> None:
        self.staging.drop()
        self.finished.empty_trash()

    def clean_stale(self, now: float) -> None:
        """Remove downloads of other folders that were left unfinished long ago and that nobody works at."""
        for entry in entries_of(self.root / ".staging"):
            if entry.name != self.path and now - newest(entry) > STALE_SECONDS:
                with suppress(DownloadError), locked(self.root, entry.name, wait=0.0):
                    log.info("removing unfinished download %s: untouched for two weeks", entry.name)
                    remove(entry)

    @contextmanager
    def lock(self, wait: float = LOCK_SECONDS, *, needed: bool = True) -> Iterator[None]:
        """Be the only writer of this path (app.downloader.storage.lock)."""
        with locked(self.root, self.path, wait, needed=needed) as warning:
            self.warning = warning
            yield
