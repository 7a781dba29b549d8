"""Objects whose hook took too much: how long each waits."""

from __future__ import annotations

import pytest

from app.serving.backoff import Backoff

ONE, OTHER = ("inferenceservice", "1"), ("inferenceservice", "2")


def test_pauses_double_up_to_five_minutes() -> None:
    backoff, now = Backoff(), 0.0
    pauses = []
    for _ in range(8):
        pauses.append(backoff.failed(ONE, now))
        now += pauses[-1]
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]


def test_an_object_waits_until_its_pause_is_over() -> None:
    backoff = Backoff()
    backoff.failed(ONE, 100.0)
    assert [backoff.remaining(ONE, now) for now in (100.0, 104.0, 110.0, 200.0)] == [10.0, 6.0, 0.0, 0.0]


@pytest.mark.parametrize("other", [OTHER, ("gpupool", "1")])
def test_no_other_object_waits(other: tuple[str, str]) -> None:
    backoff = Backoff()
    backoff.failed(ONE, 0.0)
    assert backoff.remaining(other, 0.0) == 0.0


def test_an_answer_ends_the_pause_and_what_was_remembered() -> None:
    backoff = Backoff()
    backoff.failed(ONE, 0.0)
    backoff.succeeded(ONE)
    assert (backoff.remaining(ONE, 0.0), len(backoff)) == (0.0, 0)
    assert backoff.failed(ONE, 0.0) == 10.0


def test_no_more_culprits_are_remembered_than_the_bound() -> None:
    backoff = Backoff(most_culprits=10)
    for number in range(1000):
        backoff.failed(("gpupool", str(number)), 0.0)
    assert len(backoff) == 10
    assert backoff.remaining(("gpupool", "999"), 0.0) == 10.0
    assert backoff.remaining(("gpupool", "0"), 0.0) == 0.0


def test_an_object_that_fails_again_and_again_is_not_the_first_to_be_forgotten() -> None:
    backoff = Backoff(most_culprits=3)
    for number in range(10):
        backoff.failed(ONE, 0.0)
        backoff.failed(("gpupool", str(number)), 0.0)
    assert backoff.remaining(ONE, 0.0) == 300.0
