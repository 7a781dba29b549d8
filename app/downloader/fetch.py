"""Bring every file of a listing into its staged folder: resume, try again, verify, and only then call it finished."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.contracts.download import DownloadError
from app.downloader.adopt import own_entry
from app.downloader.checksums import file_checksum
from app.downloader.classify import cut_fault, system_fault
from app.downloader.fault import Fault, Stopped
from app.downloader.listing import Checksum, Listing, RemoteFile, Source
from app.downloader.manifest import Entry
from app.downloader.part import Part
from app.downloader.storage import Finished, Volume, sync_file
from app.kube.conditions import ErrorClass

WORKERS = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between tries."""
_STRONG = frozenset({"sha256", "git-sha1"})
"""Hashes that say the same of two files whoever made them."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seed:
    """A file of a finished folder, for what did not change."""

    path: Path
    size: int
    checksum: Checksum | None = None
    """Its hash where the source has none to compare it with."""

    def is_there(self) -> bool:
        """Whether it is a file of its size; a shorter one would grow under its readers."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == self.size

    def is_right(self) -> bool:
        """Whether it still is what was downloaded, as far as it is not verified anyway."""
        return self.checksum is None or file_checksum(self.path, self.checksum.algorithm) == self.checksum


Seeds = Mapping[Checksum | str, Seed]
"""By hash, and by RemoteFile.origin."""


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
        try:
            return _entry(file, self.volume.find_whole(self.listing, file) or self._fetch(file))
        except OSError as error:
            raise system_fault(error, file.name) from error

    def _fetch(self, file: RemoteFile) -> Path:
        part = Part(self.volume.part(file), self.patience.stop)
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
        finished = self.volume.whole(file)
        finished.parent.mkdir(parents=True, exist_ok=True)
        part.path.rename(finished)
        self.patience.advanced()
        return finished

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
        """What another finished folder has already needs no network; it is verified as if it came from the source."""
        seed = find_seed(self.seeds, file)
        if seed is None:
            return
        part.path.parent.mkdir(parents=True, exist_ok=True)
        part.discard()
        try:
            if seed.is_right():
                _link_or_copy(seed.path, part.path)
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


def build_seeds(root: Path, own: Sequence[Finished], others: Sequence[Finished]) -> Seeds:
    """Files of finished folders, `own` ones of the path that is filled, by their hash and by their origin.

    32 bits of a CRC do not say that two files are the same, and an MD5 does not among strangers. What has no better
    hash is known by where it came from and what that place called its content.
    """
    seeds: dict[Checksum | str, Seed] = {}
    for found, algorithms in [*((it, _STRONG) for it in others), *((it, _STRONG | {"md5"}) for it in own)]:
        for entry in found.manifest.files:
            path = root / found.name / entry.name
            if entry.from_source and entry.checksum.algorithm in algorithms:
                seeds[entry.checksum] = Seed(path, entry.size)
            if entry.origin and "md5" in algorithms:
                seeds[entry.origin] = Seed(path, entry.size, entry.checksum)
    return seeds


def find_seed(seeds: Seeds, file: RemoteFile) -> Seed | None:
    """A file of a finished folder that is this one."""
    keys = (file.checksum, file.origin or None)
    found = (seeds[key] for key in keys if key is not None and key in seeds)
    return next((seed for seed in found if seed.size == file.size and seed.is_there()), None)


def _entry(file: RemoteFile, path: Path) -> Entry:
    if file.checksum is None:
        return replace(own_entry(file.name, path), origin=file.origin)
    return Entry(file.name, path.stat().st_size, file.checksum, from_source=True, origin=file.origin)
