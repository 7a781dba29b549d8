"""Report -> text for people. On a terminal with colours; elsewhere the same lines without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from app.cli import bar
from app.cli.outcome import Outcome
from app.cli.report import Report

PLAIN_WIDTH = 118
"""Columns where there is no terminal to ask."""
SHOWN_LAYOUTS = 8
STYLES = {Outcome.FIT: "bold green", Outcome.PENDING: "bold yellow", Outcome.IMPOSSIBLE: "bold red"}


def print_report(report: Report) -> None:
    """To standard output. NO_COLOR is obeyed."""
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(render(report))
        return
    text = StringIO()
    Console(width=PLAIN_WIDTH, highlight=False, markup=False, emoji=False, file=text).print(render(report))
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def render(report: Report) -> Group:
    """One service, from the decision to what could not be checked; parts with nothing to say are left out."""
    parts = [_head(report), *_memory(report), *_nodes(report), *_excluded(report), *_rejected(report)]
    return Group(*parts, *_running(report), *_list("Not checked", report.unchecked), Text())


def _head(report: Report) -> RenderableType:
    line = f", place {report.place_in_line} in line" if report.place_in_line else ""
    outcome = Text(report.outcome.value.upper(), STYLES.get(report.outcome, "bold")).append(line, "default")
    rows: list[tuple[str, str | Text]] = [("Service", report.service), ("Outcome", outcome)]
    rows += [("Sizes", _sizes(report))] if report.shape.tensor else []
    said = [reason for reason in report.answer["reasons"] if reason not in report.unchecked]
    rows += [("Why" if index == 0 else "", reason) for index, reason in enumerate(said)]
    rows += [("Limit", report.limit.message)] if report.limit else []
    rows += [("vLLM", " ".join(report.command))] if report.command else []
    return _grid(rows)


def _sizes(report: Report) -> str:
    shape = report.shape
    parts = [f"TP {shape.tensor or '?'} x PP {shape.pipeline or '?'} x DP {shape.data or '?'}"]
    parts += ["with expert parallelism"] if shape.expert_parallel else []
    parts += [f"on {shape.product}"] if shape.product else []
    parts += [f"up to {shape.max_model_len:,} tokens"] if shape.max_model_len else []
    return ", ".join(parts)


def _memory(report: Report) -> Iterable[RenderableType]:
    memory = report.shape.memory
    if memory is None:
        return []
    title = Text(f"\nMemory of one GPU ({report.shape.product})", "bold")
    return [title, _indented(bar.draw(memory)), _indented(_grid(bar.numbers(memory)))]


def _nodes(report: Report) -> Iterable[RenderableType]:
    rows = [(node["name"], f"{node['gpus']} GPU{'s' * (node['gpus'] != 1)}") for node in report.answer["nodes"]]
    return [Text("\nNodes", "bold"), _indented(_grid(rows))] if rows else []


def _excluded(report: Report) -> Iterable[RenderableType]:
    counts = report.answer["excluded"]
    total = sum(counts.values()) + len(report.answer["nodes"])
    title = Text(f"\nNot taken ({sum(counts.values())} of {total} nodes)", "bold")
    return [title, _indented(_grid([(str(count), reason) for reason, count in counts.items()]))] if counts else []


def _rejected(report: Report) -> Iterable[RenderableType]:
    shown = report.rejected[:SHOWN_LAYOUTS]
    rest = len(report.rejected) - len(shown)
    more = [("", f"and {rest} more: see -o json")] if rest else []
    return [Text("\nOther layouts", "bold"), _indented(_grid([*shown, *more]))] if shown else []


def _running(report: Report) -> Iterable[RenderableType]:
    if report.effect is None:
        return []
    style = "bold red" if report.effect.restarts else "default"
    return [Text("\nWhat runs", "bold"), _indented(Text(report.effect.message, style))]


def _list(title: str, lines: Sequence[str]) -> Iterable[RenderableType]:
    return [Text(f"\n{title}", "bold"), _indented(_grid([("-", line) for line in lines]))] if lines else []


def _grid(rows: Iterable[Sequence[str | Text]]) -> Table:
    """Columns as wide as they need; only the last one is folded."""
    lines = [list(row) for row in rows]
    table = Table.grid(padding=(0, 2))
    for column in range(max((len(line) for line in lines), default=0)):
        last = column == len(lines[0]) - 1
        table.add_column(no_wrap=not last, overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def _indented(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, 2))
