"""Command line of `kubectl inference` (kubectl finds the program `kubectl-inference` as a plugin)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import TYPE_CHECKING

import orjson

from app.cli.inputs import InputError, settings_from_environment
from app.cli.usage import build_parser, find_conflict

if TYPE_CHECKING:
    from app.cli.plan import Options, Source
    from app.cli.report import Report

UNUSABLE = 1
"""Exit code: an input cannot be used, or the cluster cannot be read. 2 is argparse's own, for wrong arguments."""
EXIT_CODES = {"fit": 0, "pending": 3, "impossible": 4, "unknown": 5}
_WORST_FIRST = ("impossible", "pending", "unknown", "fit")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the process's."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if problem := find_conflict(arguments):
        parser.error(problem)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows the memory bar poorer
    commands = {"plan": run_plan, "replay": run_replay}
    try:
        return commands[arguments.command](arguments)
    except InputError as error:
        print(f"kubectl inference: {error}", file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:  # the reader has seen enough
        sys.stdout = None
        return UNUSABLE


def run_plan(arguments: argparse.Namespace) -> int:
    from app.cli.plan import Options, plan

    if arguments.batch is not None:
        return _run_batch(arguments.batch)
    options = Options(
        file=arguments.filename,
        nodes=arguments.nodes,
        model_config=arguments.model_config,
        weights_bytes=arguments.weights_bytes,
        namespace=arguments.namespace,
    )
    now = datetime.now(UTC)
    return _print_reports(plan(options, _source(options, arguments), now), arguments.output)


def _source(options: Options, arguments: argparse.Namespace) -> Source:
    from app.cli.plan import read_offline

    if options.nodes is not None:
        return read_offline(options, settings_from_environment())
    from app.cli.live import connect

    return connect(arguments.kubeconfig, arguments.context, arguments.namespace)


def _print_reports(reports: Iterable[Report], output: str) -> int:
    from app.cli.render import print_report

    outcomes: set[str] = set()
    for report in reports:
        outcomes.add(report.outcome.value)
        if output == "json":
            print(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2).decode())
        else:
            print_report(report)
    return next(EXIT_CODES[outcome] for outcome in _WORST_FIRST if outcome in outcomes)


def _run_batch(path: str) -> int:
    from app.cli.batch import answer_lines
    from app.cli.documents import open_lines

    all_usable = True
    with open_lines(path) as lines:
        for answer in answer_lines(lines, settings_from_environment(), datetime.now(UTC)):
            all_usable &= "error" not in answer
            sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()
    return 0 if all_usable else UNUSABLE


def run_replay(arguments: argparse.Namespace) -> int:
    from app.cli.replay import print_replays

    return print_replays(arguments.files, arguments.kind, arguments.output, arguments.diff, settings_from_environment())


if __name__ == "__main__":
    sys.exit(main())
