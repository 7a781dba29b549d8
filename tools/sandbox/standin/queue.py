"""A queue of keys for several workers, with delays and exponential backoff per key.

A key waits at most once; a key that is added while it is being worked on comes back afterwards, so no key is ever in
two hands. These are client-go's rules.
"""

from __future__ import annotations

import threading
import time

BASE_DELAY = 0.005
MAX_DELAY = 1000.0


class WorkQueue:
    """Keys to be worked on, oldest first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready: dict[str, None] = {}  # ordered
        self._due: dict[str, float] = {}
        self._in_work: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._closed = False

    def add(self, key: str) -> None:
        with self._changed:
            self._add(key)

    def _add(self, key: str) -> None:
        if key in self._in_work:
            self._again.add(key)
        else:
            self._ready.setdefault(key)
            self._changed.notify()

    def add_after(self, key: str, seconds: float) -> None:
        """Add later. The earlier of two such wishes counts."""
        due = time.monotonic() + seconds
        with self._changed:
            self._due[key] = min(due, self._due.get(key, due))
            self._changed.notify()

    def add_rate_limited(self, key: str) -> None:
        """Add after a delay that doubles with every failure since the last `forget`."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
        self.add_after(key, min(BASE_DELAY * 2.0 ** min(failures, 30), MAX_DELAY))

    def forget(self, key: str) -> None:
        """The key was worked on with success."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self) -> str | None:
        """Wait for a key; None once the queue is closed. Every key got must be given back with `done`."""
        with self._changed:
            while not self._closed:
                delay = self._release_due()
                if self._ready:
                    key = next(iter(self._ready))
                    del self._ready[key]
                    self._in_work.add(key)
                    return key
                self._changed.wait(delay)
            return None

    def _release_due(self) -> float | None:
        """Move keys whose time has come; the seconds until the next one, if any."""
        now = time.monotonic()
        for key in [key for key, due in self._due.items() if due <= now]:
            del self._due[key]
            self._add(key)
        return min(self._due.values()) - now if self._due else None

    def done(self, key: str) -> None:
        with self._changed:
            self._in_work.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
