"""Waiting with a deadline: the one loop that all waits share."""

from __future__ import annotations

import time
from collections.abc import Callable

from inference_runtime.failure import log

PAUSE_SECONDS = 0.5
REPEAT_SECONDS = 30
"""How often a wait that goes on is told again."""


def wait_until(state: Callable[[], str], seconds: float, clock: Callable[[], float] = time.monotonic) -> str:
    """Ask `state` until it says "", or the time is over; the last thing it said. A change is logged at once."""
    deadline, said, told = clock() + seconds, "", 0.0
    while missing := state():
        if missing != said or clock() - told > REPEAT_SECONDS:
            log(f"waiting: {missing}")
            said, told = missing, clock()
        if clock() > deadline:
            return missing
        time.sleep(PAUSE_SECONDS)
    return ""
