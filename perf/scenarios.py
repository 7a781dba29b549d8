"""What is measured by default, and what is expected: the specification's table of performance tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

RATES = ("requests_per_second", "tokens_per_second")
"""Figures that have a least value."""
DURATIONS = ("latency_p95", "first_token_p95", "token_gap_p95")
"""Figures that have a largest value, in seconds: of whole answers, to the first token, and between tokens."""
FAILED = "failed"
"""Requests that may fail."""
FIGURES = (*RATES, *DURATIONS, FAILED)


@dataclass(frozen=True)
class Bound:
    """What one figure of a scenario must reach, or must not exceed."""

    figure: str
    """One of FIGURES."""
    limit: float


@dataclass(frozen=True)
class Scenario:
    """So many requests at a time, for so long."""

    name: str
    concurrency: int
    seconds: float
    bounds: tuple[Bound, ...] = ()
    """What is expected; empty: nothing."""


def _of_the_specification(name: str, concurrency: int, seconds: float, requests_per_second: float) -> Scenario:
    return Scenario(name, concurrency, seconds, (Bound("requests_per_second", requests_per_second),))


PROFILES: Mapping[str, tuple[Scenario, ...]] = {
    "7b": (
        _of_the_specification("7B model low concurrency", 4, 120, 50.0),
        _of_the_specification("7B model high concurrency", 16, 120, 80.0),
    ),
    "70b": (_of_the_specification("70B model distributed", 8, 300, 20.0),),
}
"""The specification's scenarios, by the size of the model that they are of."""
DEFAULTS = tuple(scenario for scenarios in PROFILES.values() for scenario in scenarios)


def parse_scenario(text: str) -> Scenario:
    """`CONCURRENCYxSECONDS`, for example `8x60`. Raises ValueError."""
    concurrency, cross, seconds = text.partition("x")
    if not cross or int(concurrency) < 1 or float(seconds) <= 0:
        raise ValueError(f"{text!r} is not CONCURRENCYxSECONDS")
    return Scenario(f"{int(concurrency)} at a time", int(concurrency), float(seconds))


def find_profile(text: str) -> tuple[Scenario, ...]:
    """The scenarios of a profile, or of the JSON file of that name. Raises ValueError with what to change."""
    if text in PROFILES:
        return PROFILES[text]
    try:
        return parse_profile(json.loads(Path(text).read_text()))
    except OSError as error:
        raise ValueError(f"{text!r} is neither a profile ({', '.join(PROFILES)}) nor a readable file") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{text} is not JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error


def parse_profile(content: Any) -> tuple[Scenario, ...]:
    """The scenarios of a file's content. Raises ValueError.

    `{"scenarios": [{"name": "...", "concurrency": 8, "seconds": 60, "expect": {"requests_per_second": 20}}]}`
    """
    listed = content.get("scenarios") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ValueError('a file of expectations is an object with a list "scenarios" that is not empty')
    return tuple(_scenario(item) for item in listed)


def _scenario(item: Any) -> Scenario:
    if not isinstance(item, dict):
        raise ValueError(f"{item!r} is not a scenario; write an object with concurrency, seconds and expect")
    concurrency, seconds, expect = item.get("concurrency"), item.get("seconds"), item.get("expect")
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise ValueError(f"concurrency is {concurrency!r}; write a whole number of 1 or more")
    if not _is_number(seconds) or seconds <= 0:
        raise ValueError(f"seconds is {seconds!r}; write a number above 0")
    if not isinstance(expect, dict) or not expect:
        raise ValueError(f"expect is {expect!r}; write an object with at least one of {', '.join(FIGURES)}")
    name = str(item.get("name") or f"{concurrency} at a time")
    return Scenario(name, concurrency, float(seconds), tuple(_bound(*pair) for pair in expect.items()))


def _bound(figure: str, limit: Any) -> Bound:
    if figure not in FIGURES:
        raise ValueError(f"nothing measures {figure!r}; write one of {', '.join(FIGURES)}")
    if not _is_number(limit) or limit < 0:
        raise ValueError(f"{figure} is {limit!r}; write a number of 0 or more")
    return Bound(figure, float(limit))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
