"""One run, from the lock to the published folder."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app.contracts.download import DownloadReport
from app.downloader import facts
from app.downloader import manifest as manifests
from app.downloader.archive import unpack
from app.downloader.checksums import file_checksum, knows
from app.downloader.classify import CONFIGURATION, PERMANENT, system_error
from app.downloader.egress import enforced
from app.downloader.errors import DownloadError
from app.downloader.listing import Listing, Source, digest
from app.downloader.manifest import Entry, Manifest
from app.downloader.patterns import find_foreign_only
from app.downloader.progress import Progress
from app.downloader.retry import StallTimeout
from app.downloader.reuse import ReusableFiles, find_reusable, index_reusable
from app.downloader.sources.registry import build_source
from app.downloader.storage import Finished, Volume, human, own_entry, sync_file
from app.downloader.task import Task
from app.downloader.transfer import Transfer
from app.kube.conditions import format_time

FRESH_STARTS = 5
"""How often a source may change while it is read."""
log = logging.getLogger(__name__)


@dataclass
class Run:
    """A task on its way."""

    task: Task
    make_source: Callable[[Task], Source] = build_source
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self.volume = Volume(self.task.volume, self.task.path, self.task.volume_bytes)
        self.progress = Progress(self.volume)
        self.timeout = StallTimeout(self.task.retry_seconds)

    def __call__(self) -> DownloadReport:
        """The report of a finished model; else a DownloadError, with everything that came kept for the next run."""
        try:
            with enforced(self.task.egress), self.volume.lock(needed=not self.task.only_verifies):
                finished = self._ensure()
                self._tidy(finished)
                return replace(build_report(finished), warning=self._warning(finished))
        except OSError as error:
            raise system_error(error, f"folder {self.task.path}") from error

    def snapshot(self) -> DownloadReport:
        """A report of this moment, with the failure that is waited out while nothing comes."""
        report = self.progress.snapshot()
        return report if report.bytes_per_second else replace(report, error=self.timeout.trouble)

    def _warning(self, finished: Finished) -> str:
        title = find_foreign_only([entry.name for entry in finished.manifest.files])
        unread = f"The weights are only there as {title}, which vLLM on ROCm does not load." if title else ""
        return " ".join(it for it in (unread, self.volume.warning) if it)

    def _ensure(self) -> Finished:
        found = self.volume.finished.current()
        if self.task.only_verifies:
            return self._verify(found) if found else self._verify_existing()
        if self.task.policy != "Always" and found and self._is_complete(found):
            log.info("%s is complete: nothing to fetch", found.name)
            return found
        for _ in range(FRESH_STARTS):
            self.timeout = StallTimeout(self.task.retry_seconds)
            try:
                with closing(self.make_source(self.task)) as source:
                    return self._bring(source)
            except DownloadError as failure:
                if failure.error.reason != "SourceChanged":
                    raise
                log.warning("%s", failure.error.message)
        raise DownloadError(
            CONFIGURATION, "SourceKeepsChanging", "The source changes faster than it can be read: freeze it."
        )

    def _bring(self, source: Source) -> Finished:
        source.validate()
        listing = self.timeout.call(source.size)
        log.info("%s has %d files, %s", source.identity, len(listing.files), human(listing.total))
        if there := self._find_there(listing):
            log.info("%s has this content already: nothing to fetch", there.name)
            self.volume.finished.point_to(there.name)
            return there
        self.volume.staging.clean(listing)
        self.progress.listing = listing
        reusable = self._reusable()
        self.volume.require_space(listing, {file for file in listing.files if find_reusable(reusable, file)})
        entries = self._fetch(source, listing, reusable)
        return self._publish(source, listing, entries)

    def _find_there(self, listing: Listing) -> Finished | None:
        """A whole folder of this content; where the source tells no content from another, Always looks at the bytes."""
        if listing.has_no_identity and self.task.policy == "Always":
            return None
        found = self.volume.finished.with_content(listing.digest)
        return found if found and not self._damaged(found) else None

    def _reusable(self) -> ReusableFiles:
        finished = self.volume.finished.all()
        own = [it for it in finished if self.volume.finished.is_ours(it.name)]
        return index_reusable(
            self.volume.root, own, [it for it in finished if not self.volume.finished.is_ours(it.name)]
        )

    def _fetch(self, source: Source, listing: Listing, reusable: ReusableFiles) -> list[Entry]:
        begun = time.monotonic()
        entries = Transfer(source, self.volume, listing, self.timeout, reusable).run()
        log.info("all %d files are here and verified, after %.1f s", len(entries), time.monotonic() - begun)
        return self._unpack(listing) if listing.extract else entries

    def _unpack(self, listing: Listing) -> list[Entry]:
        [file] = listing.files
        folder = self.volume.staging.unpacked(listing)
        self.volume.staging.discard(folder)
        names = unpack(
            self.volume.staging.assemble(listing) / file.name, file.name, folder, self.volume.free(), threading.Event()
        )
        for name in names:
            sync_file(folder / name)
        return [own_entry(name, folder / name) for name in sorted(names)]

    def _publish(self, source: Source, listing: Listing, entries: list[Entry]) -> Finished:
        if listing.has_no_identity and (same := self.volume.finished.with_files(entries)):
            log.info("%s has these very files already", same.name)
            self.volume.finished.point_to(same.name)
            return same
        folder = self.volume.staging.unpacked(listing) if listing.extract else self.volume.staging.assemble(listing)
        summary = facts.inspect(folder, [entry.name for entry in entries])
        manifest = Manifest(
            model=self.task.model,
            source=source.identity,
            revision=listing.revision,
            digest=content_digest(entries) if listing.has_no_identity else listing.digest,
            time=format_time(self.now()),
            files=tuple(entries),
            summary=summary,
            cache=self.task.cache,
        )
        finished = self.volume.finished.publish(folder, manifest, listing.folder)
        log.info("finished: %s in %s", human(manifest.size), finished.name)
        return finished

    def _is_complete(self, found: Finished) -> bool:
        wrong = self._damaged(found)
        if wrong:
            log.warning("%s is damaged (%d files, first %s): it is made anew", found.name, len(wrong), wrong[0])
        return not wrong

    def _damaged(self, found: Finished) -> list[str]:
        """Names of files that are not what came: by their sizes, with policy Never by every byte."""
        if self.task.policy == "Never":
            return [entry.name for entry in found.manifest.files if not self._matches(found, entry)]
        return manifests.damaged(self.volume.root / found.name, found.manifest)

    def _verify(self, found: Finished) -> Finished:
        if wrong := self._damaged(found):
            message = (
                f"{len(wrong)} of {len(found.manifest.files)} files in {found.name} are missing or not what was "
                f"downloaded, first {wrong[0]}: set downloadPolicy to Always or IfNotPresent once."
            )
            raise DownloadError(PERMANENT, "VerificationFailed", message)
        return found

    def _matches(self, found: Finished, entry: Entry) -> bool:
        path = self.volume.root / found.name / entry.name
        if manifests.damaged(path.parent, replace(found.manifest, files=(replace(entry, name=path.name),))):
            return False
        algorithm = entry.checksum.algorithm
        return not knows(algorithm) or file_checksum(path, algorithm) == entry.checksum

    def _verify_existing(self) -> Finished:
        found = self.volume.finished.describe_existing(self.task.model)
        if found is None:
            message = f"There is no folder {self.task.path} on the volume, and downloadPolicy Never fetches nothing."
            raise DownloadError(CONFIGURATION, "NotOnVolume", message)
        summary = facts.inspect(self.volume.root / found.name, [entry.name for entry in found.manifest.files])
        return replace(found, manifest=replace(found.manifest, summary=summary))

    def _tidy(self, finished: Finished) -> None:
        """What is no longer needed; the model is there whether this succeeds or not."""
        if self.task.only_verifies:
            return
        self.volume.drop_staging()
        if self.task.keep is not None:
            self.volume.finished.prune(self.task.model, self.task.cache, self.task.keep, finished.name)
        self.volume.clean_stale(time.time())


def content_digest(entries: list[Entry]) -> str:
    """What Listing.digest is, of the files themselves: for sources that do not tell one content from another."""
    return digest(*sorted(f"{it.name}\0{it.size}\0{it.checksum.value}" for it in entries))[:8]


def build_report(finished: Finished) -> DownloadReport:
    """The last report."""
    manifest = finished.manifest
    return DownloadReport(
        bytes_done=manifest.size,
        bytes_total=manifest.size,
        files_done=len(manifest.files),
        files_total=len(manifest.files),
        revision=manifest.revision,
        path=finished.name,
        size_on_disk=manifest.size,
        verified_files=manifest.verified,
        parameters=manifest.summary.parameters,
        model=manifest.summary.facts,
        model_unknown=manifest.summary.unknown,
    )
