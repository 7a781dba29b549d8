"""Pauses after failures: they double, up to a limit, and no two replicas or watches wait alike."""

from __future__ import annotations

import random

LEAST_SECONDS = 0.5
MOST_SECONDS = 30.0


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: between half of and the whole of 0.5 s, 1 s, 2 s ... 30 s."""
    return doubled(failures, LEAST_SECONDS, MOST_SECONDS) * random.uniform(0.5, 1.0)


def doubled(failures: int, least: float, most: float) -> float:
    """Seconds: `least` after the first failure (0), twice as many after each further one, up to `most`."""
    return min(most, least * 2.0 ** min(failures, 16))


def jittered(seconds: float) -> float:
    """A period that keeps replicas from falling into step: up to a fifth longer."""
    return seconds * random.uniform(1.0, 1.2)
