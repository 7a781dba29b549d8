"""Durations as Kubernetes and Go write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kube.duration import DURATION_PATTERN, parse_duration, whole_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300s", 300), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5), ("1m0.5s", 60.5), ("0s", 0)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "s", "-5s", "5d", "1h 30m", "5s\n", "٥s"])
def test_what_is_no_duration_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 30s, 5m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("300s", 300), ("1ms", 1), ("1.5s", 2), ("1h", 3600), ("0s", 0), ("0.07h", 252), ("1.1m", 66)]
)
def test_seconds_are_rounded_up(text: str, seconds: int) -> None:
    assert whole_seconds(text) == seconds


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h"]))
def test_whole_seconds_are_the_next_ones(number: int, unit: str) -> None:
    exact = number * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
    assert exact <= whole_seconds(f"{number}{unit}") < exact + 1


@given(st.from_regex(re.compile(DURATION_PATTERN, re.ASCII), fullmatch=True).filter(lambda text: len(text) < 8))
def test_what_the_schema_admits_is_read(text: str) -> None:
    assert parse_duration(text) >= 0
