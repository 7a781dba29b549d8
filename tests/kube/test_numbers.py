"""Numbers and times at the edges of what can be computed: refused or held, never an exception of another kind."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from app.kube.conditions import format_time, later, parse_time
from app.kube.duration import parse_duration, whole_seconds
from app.kube.quantity import LARGEST, canonical_quantity, parse_quantity
from app.vllm.values import parse_number, parse_size, parse_whole

ABSURD = ["9" * 900_000, "9" * 1_000_000 + "Ei", "0." + "1" * 100_000, "9" * 33, "9" * 80 + "s", "1h" * 100_000]


@pytest.mark.parametrize("text", ABSURD, ids=lambda text: f"{len(text)} characters")
@pytest.mark.parametrize("read", [parse_quantity, canonical_quantity, parse_duration, whole_seconds])
def test_a_long_text_is_refused_without_reading_it(read: object, text: str) -> None:
    """The work of reading a number grows with the square of its digits: 900,000 took 20 seconds."""
    assert callable(read)
    begun = time.thread_time()
    with pytest.raises(ValueError, match="at most 32 characters") as refused:
        read(text)
    assert time.thread_time() - begun < 0.1
    assert len(str(refused.value)) < 200, "the text is not quoted"


def test_a_quantity_ends_where_kubernetes_stops_to_tell_them_apart() -> None:
    assert canonical_quantity(str(LARGEST)) == str(LARGEST)
    assert canonical_quantity("7Ei") == "7Ei"
    with pytest.raises(ValueError, match="largest quantity"):
        canonical_quantity("8Ei")


@pytest.mark.parametrize("text", ["9" * 31 + "h", "1000001h", "3600000001s"])
def test_a_duration_ends_where_moments_end(text: str) -> None:
    with pytest.raises(ValueError, match="the longest duration"):
        parse_duration(text)
    assert parse_duration("1000000h") == 3.6e9


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "2026-13-01T00:00:00Z", "9" * 9000]
)
def test_a_time_outside_the_calendar_is_no_time(text: str) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize("seconds", [1e30, 3.6e12, 10**400, 2**53])
def test_a_moment_stays_in_the_calendar(seconds: float) -> None:
    end = parse_time("9999-12-31T23:59:59Z")
    assert end is not None
    assert format_time(later(end, seconds)) == "9999-12-31T23:59:59Z"
    assert later(end, -seconds).year <= 9999
    assert later(datetime(2026, 1, 1, tzinfo=UTC), 60) == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=1)


@pytest.mark.parametrize(
    "value", ["9" * 5000, 1e308, float("inf"), float("nan"), "1." + "1" * 5000 + "k", "1e9999", -1]
)
def test_an_absurd_argument_is_no_number_or_a_small_one(value: object) -> None:
    for read in (parse_whole, parse_size, parse_number):
        number = read(value)
        assert number is None or abs(number) < 1e309
