"""Bring every file of a listing into its staged folder: resume, try again, verify, and only then call it complete."""

from __future__ import annotations

import logging
import os
import shutil
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.downloader.checksums import file_checksum
from app.downloader.classify import cut_error, system_error
from app.downloader.errors import DownloadError
from app.downloader.listing import Listing, RemoteFile, Source
from app.downloader.manifest import Entry
from app.downloader.partial_file import PartialFile
from app.downloader.retry import StallTimeout
from app.downloader.reuse import ReusableFiles, find_reusable
from app.downloader.storage import Volume, own_entry, sync_file
from app.kube.conditions import ErrorClass

WORKERS = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """One listing on its way to a volume."""

    source: Source
    volume: Volume
    listing: Listing
    timeout: StallTimeout
    reusable: ReusableFiles = field(default_factory=dict)

    def run(self) -> list[Entry]:
        """All files, in the listing's order. The first failure that stays ends the rest where they are."""
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch")
        try:
            # Large ones first: at the end no single file keeps the others waiting.
            order = sorted(self.listing.files, key=lambda file: -(file.size or 0))
            futures = {file: pool.submit(self._bring, file) for file in order}
            wait(futures.values(), return_when=FIRST_EXCEPTION)
            failed = next((it for it in futures.values() if it.done() and it.exception()), None)
            if failed:
                failed.result()
            return [futures[file].result() for file in self.listing.files]
        except DownloadError:
            # Nobody may still be writing when somebody else begins.
            self.timeout.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            self.timeout.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _bring(self, file: RemoteFile) -> Entry:
        try:
            return _entry(file, self.volume.staging.find_complete(self.listing, file) or self._fetch(file))
        except OSError as error:
            raise system_error(error, file.name) from error

    def _fetch(self, file: RemoteFile) -> Path:
        part = PartialFile(self.volume.staging.part(file), self.timeout.stop)
        self._reuse(file, part)
        for last in (False, True):
            self.timeout.call(
                lambda: self._append(file, part), done=lambda: part.size, final=frozenset({"SourceChanged"})
            )
            problem = find_mismatch(file, part.path)
            if not problem:
                break
            part.discard()
            if last:
                raise DownloadError(ErrorClass.PERMANENT, "HashMismatch", problem)
            log.warning("%s It is fetched once more.", problem)
        sync_file(part.path)
        complete = self.volume.staging.complete(file)
        complete.parent.mkdir(parents=True, exist_ok=True)
        part.path.rename(complete)
        self.timeout.advanced()
        return complete

    def _append(self, file: RemoteFile, part: PartialFile) -> None:
        """What the part lacks; an error when less came."""
        if file.size is not None and part.size > file.size:
            part.discard()
        if not part.path.exists():
            part.open().close()
        if file.size is None or part.size != file.size:
            self.source.download(file, part)
        if file.size is not None and part.size < file.size:
            raise cut_error(file.name)

    def _reuse(self, file: RemoteFile, part: PartialFile) -> None:
        """What another finished folder has already needs no network; it is verified as if it came from the source."""
        there = find_reusable(self.reusable, file)
        if there is None:
            return
        part.path.parent.mkdir(parents=True, exist_ok=True)
        part.discard()
        try:
            if there.is_right():
                _link_or_copy(there.path, part.path)
                log.info("%s is taken from a finished folder of this volume", file.name)
        except OSError as error:
            log.info("%s cannot be taken from a finished folder: %s", file.name, error.strerror)
            part.discard()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def find_mismatch(file: RemoteFile, path: Path) -> str:
    """What is wrong with a whole file; "" when nothing is, as far as the source lets us know."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{file.name} has {size} bytes, the source says {file.size}."
    if file.checksum is None:
        return ""
    found = file_checksum(path, file.checksum.algorithm)
    if found == file.checksum:
        return ""
    said = f"the source says {file.checksum.value}, what came has {found.value}"
    return f"{file.name} has the wrong {file.checksum.algorithm}: {said}; check the source, or the given checksum."


def _entry(file: RemoteFile, path: Path) -> Entry:
    if file.checksum is None:
        return replace(own_entry(file.name, path), origin=file.origin)
    return Entry(file.name, path.stat().st_size, file.checksum, from_source=True, origin=file.origin)
