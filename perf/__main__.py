"""Measure throughput, latency and resource usage of an OpenAI endpoint: `python -m perf http://host:port`.

Without --run, the specification's scenarios: 4 requests at a time for 2 minutes, 16 for 2 minutes, 8 for 5 minutes.
Status 0: all scenarios ran; 1: a scenario had no successful request, or --check and an expectation was missed.
2: the arguments make no sense.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from perf import plot, report
from perf.client import Load, find_model
from perf.expectations import check
from perf.load import run_scenario
from perf.scenarios import DEFAULTS, FIGURES, PROFILES, Scenario, find_profile, parse_scenario
from perf.statistics import Result


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.run and arguments.check:
        parser.error("--run and --check: nothing is expected of such scenarios; write them into a file for --check")
    try:
        return asyncio.run(run(arguments))
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m perf", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", type=lambda text: text.rstrip("/"), help="base of the API, without /v1")
    parser.add_argument("--model", help="default: the first that the endpoint serves")
    parser.add_argument("--chat", action="store_true", help="chat completions instead of completions")
    parser.add_argument("--input-words", type=int, default=64, help="words in a prompt (default: 64)")
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of an answer at most (default: 64)")
    parser.add_argument(
        "--run",
        type=_scenario,
        action="append",
        metavar="CONCURRENCYxSECONDS",
        help="a scenario instead of the specification's, such as 8x60; may be repeated",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="shorten or lengthen all scenarios (default: 1)")
    parser.add_argument(
        "--metrics",
        action="append",
        metavar="URL",
        help="Prometheus metrics to read meanwhile, such as AMD's exporter; may be repeated (default: URL/metrics)",
    )
    parser.add_argument(
        "--check",
        nargs="?",
        type=_profile,
        const=DEFAULTS,
        metavar="PROFILE|FILE",
        help="run the scenarios for which something is expected, and fail when it is missed: without a value the "
        f"specification's, {' or '.join(PROFILES)} those of them for models of that size, a JSON file its own: "
        f'{{"scenarios": [{{"concurrency": 8, "seconds": 60, "expect": {{...}}}}]}} with {", ".join(FIGURES)}',
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="on stdout (default: text)")
    parser.add_argument("--samples", action="store_true", help="with -o json: every single request too")
    parser.add_argument("--plot", type=_picture, metavar="FILE", help=f"a picture: {', '.join(plot.FORMATS)}")
    return parser


def _scenario(text: str) -> Scenario:
    try:
        return parse_scenario(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _profile(text: str) -> tuple[Scenario, ...]:
    try:
        return find_profile(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in plot.FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} ends in none of {', '.join(plot.FORMATS)}")
    return path


async def run(arguments: argparse.Namespace) -> int:
    """Progress goes to stderr, so that stdout holds the results alone."""
    console, progress_console = Console(), Console(stderr=True)
    try:
        load = await choose_load(arguments)
    except (httpx2.HTTPError, LookupError, ValueError) as error:
        print(f"error: {arguments.url} does not say which models it serves: {error!r}", file=sys.stderr)
        return 1
    scenarios = [
        replace(it, seconds=it.seconds * arguments.scale) for it in arguments.check or arguments.run or DEFAULTS
    ]
    metrics = arguments.metrics if arguments.metrics is not None else [f"{arguments.url}/metrics"]
    results = []
    for scenario in scenarios:
        with _bar(progress_console, scenario) as told:
            results.append(await run_scenario(arguments.url, load, scenario, metrics, told))
    if arguments.output == "json":
        print(json.dumps(report.to_json(arguments.url, load, results, samples=arguments.samples), indent=2))
    else:
        report.show(console, results)
    if arguments.check:
        report.show_checks(progress_console if arguments.output == "json" else console, check(results))
    if arguments.plot:
        plot.write_plot(arguments.plot, results)
        print(f"wrote {arguments.plot}", file=sys.stderr)
    return exit_code(results, checked=bool(arguments.check))


def exit_code(results: Sequence[Result], *, checked: bool) -> int:
    missed = checked and any(not it.met for it in check(results))
    return 1 if missed or any(result.requests == 0 for result in results) else 0


async def choose_load(arguments: argparse.Namespace) -> Load:
    async with httpx2.AsyncClient(base_url=arguments.url, timeout=10, trust_env=False) as http:
        model = arguments.model or await find_model(http)
    return Load(model, arguments.chat, arguments.input_words, arguments.max_tokens)


@contextmanager
def _bar(console: Console, scenario: Scenario) -> Iterator[Callable[[float, int, int], None]]:
    """A bar that fills with time, and what was counted so far."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(scenario.name, total=scenario.seconds, told="")

        def tell(seconds: float, succeeded: int, failed: int) -> None:
            rate = succeeded / seconds if seconds else 0.0
            told = f"{succeeded} requests, {rate:.1f}/s" + (f", {failed} failed" if failed else "")
            progress.update(task, completed=min(seconds, scenario.seconds), told=told)

        yield tell


if __name__ == "__main__":
    sys.exit(main())
