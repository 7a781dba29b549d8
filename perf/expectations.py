"""Results against what is expected of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perf.scenarios import FAILED, RATES, Bound
from perf.statistics import Result, Spread

PERCENT = 95


@dataclass(frozen=True)
class Check:
    """One expectation and what was measured."""

    scenario: str
    figure: str
    limit: float
    measured: float | None
    """None: nothing was measured, because no request succeeded or none had two tokens."""

    @property
    def met(self) -> bool:
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.figure in RATES else self.measured <= self.limit


def check(results: Sequence[Result]) -> list[Check]:
    """A check for each bound of each scenario, in their order."""
    return [_check(result, bound) for result in results for bound in result.scenario.bounds]


def _check(result: Result, bound: Bound) -> Check:
    return Check(result.scenario.name, bound.figure, bound.limit, measure(result, bound.figure))


def measure(result: Result, figure: str) -> float | None:
    """Requests or tokens a second, failed requests, or seconds at p95."""
    if figure == FAILED:
        return float(sum(result.errors.values()))
    if figure in RATES:
        return float(getattr(result, figure))
    spread: Spread | None = getattr(result, figure.removesuffix(f"_p{PERCENT}"))
    return spread.percentiles[PERCENT] if spread else None
