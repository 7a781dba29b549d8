"""Samples to figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perf.client import Sample
from perf.resources import Usage
from perf.scenarios import Scenario

PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Spread:
    """Seconds: mean, largest, and the value that so many percent do not exceed."""

    mean: float
    percentiles: dict[int, float]
    largest: float


@dataclass(frozen=True)
class Result:
    """One scenario's figures; spreads are absent when no request succeeded, or none had two tokens."""

    scenario: Scenario
    seconds: float
    """How long it took, the last answers included."""
    requests: int
    errors: dict[str, int]
    requests_per_second: float
    tokens_per_second: float
    latency: Spread | None
    first_token: Spread | None
    token_gap: Spread | None
    usage: dict[str, Usage]
    samples: tuple[Sample, ...]


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: a value that was measured. `values` are sorted and not empty."""
    rank = -(-len(values) * percent // 100)
    return values[max(0, int(rank) - 1)]


def spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    ordered = sorted(values)
    return Spread(sum(ordered) / len(ordered), {p: percentile(ordered, p) for p in PERCENTS}, ordered[-1])


def summarise(scenario: Scenario, samples: Sequence[Sample], usage: dict[str, Usage]) -> Result:
    """Rates count requests that succeeded, over the time until the last of all ended."""
    good = [sample for sample in samples if not sample.error]
    failed = [sample.error for sample in samples if sample.error]
    seconds = max([sample.ended for sample in samples], default=0.0)
    rate = 1 / seconds if seconds else 0.0
    return Result(
        scenario=scenario,
        seconds=seconds,
        requests=len(good),
        errors={error: failed.count(error) for error in sorted(set(failed))},
        requests_per_second=len(good) * rate,
        tokens_per_second=sum(sample.tokens for sample in good) * rate,
        latency=spread([sample.latency for sample in good]),
        first_token=spread([it for sample in good if (it := sample.first_token) is not None]),
        token_gap=spread([it for sample in good if (it := sample.token_gap) is not None]),
        usage=usage,
        samples=tuple(samples),
    )
