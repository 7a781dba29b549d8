"""What is measured by default: the specification's table of performance tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """So many requests at a time, for so long."""

    name: str
    concurrency: int
    seconds: float
    expected: float | None = None
    """Requests per second that the specification expects of its models on its hardware."""


DEFAULTS = (
    Scenario("7B model low concurrency", 4, 120, 50.0),
    Scenario("7B model high concurrency", 16, 120, 80.0),
    Scenario("70B model distributed", 8, 300, 20.0),
)


def parse_scenario(text: str) -> Scenario:
    """`CONCURRENCYxSECONDS`, for example `8x60`. Raises ValueError."""
    concurrency, cross, seconds = text.partition("x")
    if not cross or int(concurrency) < 1 or float(seconds) <= 0:
        raise ValueError(f"{text!r} is not CONCURRENCYxSECONDS")
    return Scenario(f"{int(concurrency)} at a time", int(concurrency), float(seconds))
