"""Objects whose hook took too much: each waits, and longer each time, while all others are answered as before.

This is the one thing that the service remembers. It decides only when an object is looked at, never what is answered,
and each replica forgets it at its end.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from app.agent.io.backoff import doubled

LEAST_SECONDS = 10.0
MOST_SECONDS = 300.0
MOST_CULPRITS = 4096
"""So many objects are remembered; beyond, the one that failed longest ago is tried again at once."""

Culprit = tuple[str, str]
"""Kind and uid."""


@dataclass(frozen=True)
class _Pause:
    failures: int
    until: float


class Backoff:
    """Pauses of 10 s, 20 s, 40 s ... 300 s, object by object. Times are of one monotonic clock, in seconds."""

    def __init__(self, most_culprits: int = MOST_CULPRITS) -> None:
        self._pauses: OrderedDict[Culprit, _Pause] = OrderedDict()
        self._most_culprits = most_culprits

    def __len__(self) -> int:
        return len(self._pauses)

    def remaining(self, culprit: Culprit, now: float) -> float:
        """Seconds until the object may be tried; 0 = now."""
        pause = self._pauses.get(culprit)
        return max(0.0, pause.until - now) if pause else 0.0

    def failed(self, culprit: Culprit, now: float) -> float:
        """The object took too much: the seconds that it waits from now on."""
        before = self._pauses.pop(culprit, None)
        failures = before.failures + 1 if before else 0
        seconds = doubled(failures, LEAST_SECONDS, MOST_SECONDS)
        self._pauses[culprit] = _Pause(failures, now + seconds)
        while len(self._pauses) > self._most_culprits:
            self._pauses.popitem(last=False)
        return seconds

    def succeeded(self, culprit: Culprit) -> None:
        """The object was answered: it is no culprit any more."""
        self._pauses.pop(culprit, None)
