"""Trying again: pauses that grow, until nothing has moved for too long. One rule for requests, files and reports.

Not a library's: what ends it is neither a count of tries nor time in all, but time without a new byte, and that is
shared by all files of a transfer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import TypeVar

from app.contracts.download import ReportedError
from app.downloader.errors import DownloadError, Terminated

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between tries."""
log = logging.getLogger(__name__)


@dataclass
class StallTimeout:
    """How long without progress until we give up; shared by all files of one transfer."""

    seconds: float
    longest_pause: float = LONGEST_PAUSE
    stop: threading.Event = field(default_factory=threading.Event)
    trouble: ReportedError | None = None
    """What is waited out, until something comes again."""
    _since: float = field(default_factory=time.monotonic)

    def advanced(self) -> None:
        self._since, self.trouble = time.monotonic(), None

    def call(self, action: Callable[[], T], done: Callable[[], int] = lambda: 0, final: Set[str] = frozenset()) -> T:
        """Do it until it succeeds. `done` counts what has come, so that a try that brought something begins anew with
        short pauses; errors that cannot be retried, or whose reason is in `final`, are raised at once."""
        attempt = 0
        while True:
            before = done()
            try:
                return action()
            except DownloadError as failure:
                if not failure.can_retry or failure.error.reason in final:
                    raise
                if done() > before:
                    attempt = 0
                    self.advanced()
                self.pause(failure, attempt)
                attempt += 1

    def pause(self, failure: DownloadError, attempt: int) -> None:
        """Wait before the next try; raises the failure when it would take too long, or Terminated."""
        pause = failure.retry_after or min(self.longest_pause, FIRST_PAUSE * 2**attempt)
        if time.monotonic() - self._since + pause > self.seconds:
            raise failure
        self.trouble = failure.error
        log.warning("%s Next try in %.1f s.", failure.error.message, pause)
        if self.stop.wait(pause):
            raise Terminated
