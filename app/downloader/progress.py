"""How far it is: what is on disk, looked at from beside. Nobody who works has to count."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from app.contracts.download import DownloadReport
from app.downloader.listing import Listing, RemoteFile
from app.downloader.storage import Volume, human

WINDOW = 60.0
"""Seconds over which the rate is measured."""


@dataclass
class Progress:
    """One download as an onlooker sees it."""

    volume: Volume
    listing: Listing | None = None
    _seen: list[tuple[float, int]] = field(default_factory=list)

    def snapshot(self, now: float | None = None) -> DownloadReport:
        """A report of this moment."""
        if self.listing is None:
            return DownloadReport()
        sizes = [self._size(file) for file in self.listing.files]
        done = sum(size for size, _ in sizes)
        return DownloadReport(
            bytes_done=done,
            bytes_total=max(self.listing.total, done),
            bytes_per_second=self._rate(time.monotonic() if now is None else now, done),
            files_done=sum(finished for _, finished in sizes),
            files_total=len(sizes),
            revision=self.listing.revision,
        )

    def _size(self, file: RemoteFile) -> tuple[int, bool]:
        assert self.listing
        complete = self.volume.staging.find_complete(self.listing, file)
        try:
            return (complete or self.volume.staging.part(file)).stat().st_size, complete is not None
        except OSError:
            return 0, False

    def _rate(self, now: float, done: int) -> int:
        self._seen = [seen for seen in self._seen if now - seen[0] <= WINDOW][-60:]
        self._seen.append((now, done))
        begun, before = self._seen[0]
        return int(max(0, done - before) / (now - begun)) if now > begun else 0


def as_line(report: DownloadReport) -> str:
    """The report as one line of the log."""
    total = human(report.bytes_total) if report.bytes_total else "unknown"
    return (
        f"progress: {report.percent} % ({human(report.bytes_done)} of {total}), "
        f"{human(report.bytes_per_second)}/s, {report.files_done} of {report.files_total} files"
    )
