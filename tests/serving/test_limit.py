"""Work that runs inline ends after its time."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable

import pytest

from app.serving.limit import TooSlowError, run_limited


def spin() -> None:
    while True:
        pass


def swallow() -> None:
    while True:
        with contextlib.suppress(Exception):
            spin()


def in_one_call() -> None:
    """Work in C, between two bytecodes."""
    10 ** (2 * 10**6) // 7**300000 % 10**500000


def test_what_ends_in_time_is_returned() -> None:
    assert run_limited(lambda: 7, 1.0) == 7


@pytest.mark.parametrize("work", [spin, swallow])
def test_what_takes_too_long_is_ended(work: Callable[[], None]) -> None:
    with pytest.raises(TooSlowError):
        run_limited(work, 0.1)


def test_a_call_that_cannot_be_ended_is_found_too_slow() -> None:
    with pytest.raises(TooSlowError):
        run_limited(in_one_call, 0.001)


def test_off_the_main_thread_it_is_found_too_slow_afterwards() -> None:
    ended: list[BaseException] = []

    def work() -> None:
        begun = time.thread_time()
        while time.thread_time() - begun < 0.05:
            pass

    def run() -> None:
        try:
            run_limited(work, 0.01)
        except TooSlowError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(ended) == 1


def test_waiting_is_no_work() -> None:
    run_limited(lambda: time.sleep(0.3), 0.1)


def test_the_timer_does_not_outlive_the_work() -> None:
    run_limited(lambda: None, 0.05)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    begun = time.thread_time()
    while time.thread_time() - begun < 0.1:
        pass


def test_an_exception_of_the_work_is_its_own() -> None:
    with pytest.raises(ValueError, match="mine"):
        run_limited(lambda: int("mine"), 1.0)
