"""Bring every file of a listing into its staged folder: resume, try again, verify, and only then call it finished."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from app.downloader.adopt import own_entry
from app.downloader.checksums import file_checksum
from app.downloader.classify import cut_fault, system_fault
from app.downloader.fault import Fault, Stopped
from app.downloader.listing import Checksum, Listing, RemoteFile, Source
from app.downloader.manifest import Entry
from app.downloader.part import Part
from app.downloader.storage import Volume, sync_file
from app.kube.conditions import ErrorClass
from app.kube.download import DownloadError

WORKERS = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between tries."""
Seeds = Mapping[Checksum, Path]
"""Files of other finished folders by their content, for what did not change."""
log = logging.getLogger(__name__)


@dataclass
class Patience:
    """How long without a new byte until we give up; shared by all files of one attempt."""

    seconds: float
    stop: threading.Event = field(default_factory=threading.Event)
    trouble: DownloadError | None = None
    """What is waited out, until something comes again."""
    _since: float = field(default_factory=time.monotonic)

    def advanced(self) -> None:
        self._since, self.trouble = time.monotonic(), None

    def pause(self, fault: Fault, attempt: int) -> None:
        """Wait before the next try; raises the fault when it would take too long, or Stopped."""
        pause = fault.retry_after or min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
        if time.monotonic() - self._since + pause > self.seconds:
            raise fault
        self.trouble = fault.error
        log.warning("%s Next try in %.1f s.", fault.error.message, pause)
        if self.stop.wait(pause):
            raise Stopped


@dataclass(frozen=True)
class Fetch:
    """One listing on its way to a volume."""

    source: Source
    volume: Volume
    listing: Listing
    patience: Patience
    seeds: Seeds = field(default_factory=dict)

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
        except Fault:
            # Nobody may still be writing when somebody else begins.
            self.patience.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            self.patience.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _bring(self, file: RemoteFile) -> Entry:
        finished = self.volume.staged(self.listing) / file.name
        try:
            if not _is_there(finished, file):
                self._fetch(file, finished)
            return _entry(file, finished)
        except OSError as error:
            raise system_fault(error, file.name) from error

    def _fetch(self, file: RemoteFile, finished: Path) -> None:
        part = Part(self.volume.part(file), self.patience.stop)
        if not part.size:
            self._plant(file, part)
        for last in (False, True):
            self._fill(file, part)
            problem = find_mismatch(file, part.path)
            if not problem:
                break
            part.discard()
            if last:
                raise Fault(ErrorClass.PERMANENT, "HashMismatch", problem)
            log.warning("%s It is fetched once more.", problem)
        sync_file(part.path)
        finished.parent.mkdir(parents=True, exist_ok=True)
        part.path.rename(finished)
        self.patience.advanced()

    def _fill(self, file: RemoteFile, part: Part) -> None:
        """Until the part has all bytes."""
        attempt = 0
        while True:
            before = part.size
            try:
                return self._try(file, part)
            except Fault as fault:
                if not fault.can_retry or fault.error.reason == "SourceChanged":
                    raise
                if part.size > before:
                    attempt = 0
                    self.patience.advanced()
                self.patience.pause(fault, attempt)
                attempt += 1

    def _try(self, file: RemoteFile, part: Part) -> None:
        if file.size is not None and part.size > file.size:
            part.discard()
        if not part.path.exists():
            part.open().close()
        if file.size is None or part.size != file.size:
            self.source.download(file, part)
        if file.size is not None and part.size < file.size:
            raise cut_fault(file.name)

    def _plant(self, file: RemoteFile, part: Part) -> None:
        """What another finished folder has already needs no network; it is verified as if it came from there."""
        seed = self.seeds.get(file.checksum) if file.checksum else None
        if seed is None or not seed.is_file() or file.size != seed.stat().st_size:
            return
        part.path.parent.mkdir(parents=True, exist_ok=True)
        part.discard()
        try:
            os.link(seed, part.path)
        except OSError:
            shutil.copyfile(seed, part.path)
        log.info("%s is taken from a finished folder of this volume", file.name)


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


def build_seeds(folders: Sequence[tuple[Path, Sequence[Entry]]]) -> Seeds:
    """Files by content; 32 bits of a CRC do not say that two files are the same."""
    all_files = ((folder, entry) for folder, entries in folders for entry in entries)
    return {
        entry.checksum: folder / entry.name
        for folder, entry in all_files
        if entry.from_source and entry.checksum.algorithm not in ("crc32", "crc32c")
    }


def _entry(file: RemoteFile, path: Path) -> Entry:
    if file.checksum is None:
        return own_entry(file.name, path)
    return Entry(file.name, path.stat().st_size, file.checksum, from_source=True)


def _is_there(finished: Path, file: RemoteFile) -> bool:
    """Files come here verified and synced, so the name alone says that it is whole; the size is looked at anyway."""
    return finished.is_file() and file.size in (None, finished.stat().st_size)
