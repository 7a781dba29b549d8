"""A bound on the processor time of work that runs inline, on the event loop.

The kernel counts the time and sends SIGPROF; Python runs its handler between two bytecodes of the main thread, where
the hook is, and the exception ends it. Hooks are pure, so there is nothing that an end halfway could leave behind. One
call into C cannot be ended; it is found too slow when it is over. Where no handler can be set, off the main thread, the
same is true of the whole work.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_armed = False


class TooSlowError(BaseException):
    """The work took more than its time. No `except Exception` of the work may swallow it."""


def run_limited(work: Callable[[], T], seconds: float) -> T:
    """The result of `work`. Raises TooSlowError once it has used so many seconds of processor time."""
    begun = time.thread_time()
    result = _interrupted(work, seconds) if threading.current_thread() is threading.main_thread() else work()
    if time.thread_time() - begun > seconds:
        raise TooSlowError
    return result


def _interrupted(work: Callable[[], T], seconds: float) -> T:
    global _armed
    if signal.getsignal(signal.SIGPROF) is not _expired:
        signal.signal(signal.SIGPROF, _expired)
    _armed = True
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return work()
    finally:
        _armed = False
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _expired(*_: object) -> None:
    """A signal that comes just as the work ends finds nothing to end."""
    if _armed:
        raise TooSlowError
