"""Results for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from perf.client import Load
from perf.expectations import Check, check
from perf.scenarios import RATES
from perf.statistics import PERCENTS, Result, Spread

Json = dict[str, object]
SPREADS = (("latency", "whole answer"), ("first_token", "first token"), ("token_gap", "between tokens"))


def to_json(url: str, load: Load, results: Sequence[Result], *, samples: bool = False) -> Json:
    """Every figure; every single request too when `samples`."""
    return {"url": url, "load": asdict(load), "results": [_result(result, samples) for result in results]}


def _result(result: Result, samples: bool) -> Json:
    body = asdict(result)
    singles = body.pop("samples")
    body["checks"] = [asdict(it) | {"met": it.met} for it in check([result])]
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
    for name in ("Scenario", "At a time", "Seconds", "Requests", "Failed", "Requests/s", "Tokens/s"):
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
        )
    return table


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """A table of what was expected, and one sentence with the outcome."""
    console.print(check_table(checks))
    missed = [it for it in checks if not it.met]
    if missed:
        console.print(f"[red]{len(missed)} of {len(checks)} expectations were missed.[/]")
    else:
        console.print(f"All {len(checks)} expectations were met.")


def check_table(checks: Sequence[Check]) -> Table:
    table = Table(title="Expectations", title_justify="left")
    for name in ("Scenario", "Figure", "Expected", "Measured", "Outcome"):
        table.add_column(name, justify="right" if name in ("Expected", "Measured") else "left")
    for it in checks:
        least = "at least" if it.figure in RATES else "at most"
        measured = "nothing" if it.measured is None else f"{it.measured:.3g}"
        outcome = "met" if it.met else "[red]missed[/]"
        table.add_row(it.scenario, it.figure, f"{least} {it.limit:g}", measured, outcome)
    return table


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
