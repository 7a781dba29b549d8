"""Results for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from perf.client import Load
from perf.statistics import PERCENTS, Result, Spread

Json = dict[str, object]
SPREADS = (("latency", "whole answer"), ("first_token", "first token"), ("token_gap", "between tokens"))


def to_json(url: str, load: Load, results: Sequence[Result], *, samples: bool = False) -> Json:
    """Every figure; every single request too when `samples`."""
    return {"url": url, "load": asdict(load), "results": [_result(result, samples) for result in results]}


def _result(result: Result, samples: bool) -> Json:
    body = asdict(result)
    singles = body.pop("samples")
    body["meets_expectation"] = result.meets_expectation
    return body | ({"samples": singles} if samples else {})


def show(console: Console, results: Sequence[Result]) -> None:
    """Tables of throughput and latency, then resources and errors."""
    console.print(throughput_table(results))
    console.print(latency_table(results))
    for result in results:
        for title, usage in sorted(result.usage.items()):
            console.print(f"{result.scenario.name}: {title}: mean {usage.mean:,.2f}, largest {usage.largest:,.2f}")
        for error, count in result.errors.items():
            console.print(f"[red]{result.scenario.name}: {count} x {error}[/]", soft_wrap=True)


def throughput_table(results: Sequence[Result]) -> Table:
    table = Table(title="Throughput", title_justify="left")
    for name in ("Scenario", "At a time", "Seconds", "Requests", "Failed", "Requests/s", "Tokens/s", "Expected"):
        table.add_column(name, justify="left" if name == "Scenario" else "right")
    for it in results:
        table.add_row(
            it.scenario.name,
            str(it.scenario.concurrency),
            f"{it.seconds:.0f}",
            str(it.requests),
            str(sum(it.errors.values())),
            f"{it.requests_per_second:.2f}",
            f"{it.tokens_per_second:.1f}",
            _expectation(it),
        )
    return table


def _expectation(result: Result) -> str:
    if result.meets_expectation is None:
        return "-"
    return f"{result.scenario.expected:g} {'met' if result.meets_expectation else 'missed'}"


def latency_table(results: Sequence[Result]) -> Table:
    table = Table(title="Latency in milliseconds", title_justify="left")
    for name in ("Scenario", "Of", "Mean", *(f"p{percent}" for percent in PERCENTS), "Largest"):
        table.add_column(name, justify="left" if name in ("Scenario", "Of") else "right")
    for result in results:
        for attribute, title in SPREADS:
            spread: Spread | None = getattr(result, attribute)
            if spread:
                values = (spread.mean, *(spread.percentiles[p] for p in PERCENTS), spread.largest)
                table.add_row(result.scenario.name, title, *(f"{1000 * value:.1f}" for value in values))
    return table
