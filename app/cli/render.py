"""Report -> text for people. On a terminal with colours; elsewhere the same lines without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from app.cli.explain.outcome import Outcome
from app.cli.report import Report
from app.fit.memory.estimate import MemoryEstimate, gib

PLAIN_WIDTH = 118
"""Columns where there is no terminal to ask."""
BAR_WIDTH = 60
"""Characters of a whole GPU."""
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
    rows += [("Sizes", _sizes(report))] if report.answer["tensorParallel"] else []
    said = [reason for reason in report.answer["reasons"] if reason not in report.unchecked]
    rows += [("Why" if index == 0 else "", reason) for index, reason in enumerate(said)]
    rows += [("Limit", report.limit.message)] if report.limit else []
    rows += [("vLLM", " ".join(report.command))] if report.command else []
    return _grid(rows)


def _sizes(report: Report) -> str:
    answer = report.answer
    tensor, pipeline, data = (answer[f"{axis}Parallel"] or "?" for axis in ("tensor", "pipeline", "data"))
    parts = [f"TP {tensor} x PP {pipeline} x DP {data}"]
    parts += ["with expert parallelism"] if answer["expertParallel"] else []
    parts += [f"on {answer['product']}"] if answer["product"] else []
    parts += [f"up to {answer['maxModelLen']:,} tokens"] if answer["maxModelLen"] else []
    return ", ".join(parts)


def _memory(report: Report) -> Iterable[RenderableType]:
    memory = report.memory
    if memory is None:
        return []
    title = Text(f"\nMemory of one GPU ({report.answer['product']})", "bold")
    return [title, _indented(_bar(memory)), _indented(_grid(_numbers(memory)))]


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


@dataclass(frozen=True)
class _Segment:
    name: str
    size: int
    """Bytes."""
    sign: str
    style: str
    note: str = ""


def _segments(memory: MemoryEstimate) -> list[_Segment]:
    """From left to right. vLLM takes for the KV cache whatever its share leaves; the rest stays free."""
    whole = f"{memory.sequences:,} sequence{'s' * (memory.sequences != 1)} of {memory.length:,} tokens"
    one = f"one sequence of {memory.length:,} tokens takes {gib(memory.kv_per_sequence)}"
    return [
        _Segment("weights", memory.weights, "█", "blue"),
        _Segment("overhead", memory.overhead, "▓", "yellow", "activations, graphs, RCCL: estimated, not measured"),
        _Segment("KV cache", memory.kv_available, "▒", "green", f"{whole}; {one}"),
        _Segment("free", _free(memory), "·", "dim", f"vLLM may use {gib(memory.usable)} of {gib(memory.capacity)}"),
    ]


def _bar(memory: MemoryEstimate) -> Text:
    """The bar; what does not fit stands out over the end."""
    text, before = Text("["), 0
    for segment in _segments(memory):
        after = before + segment.size
        text.append(segment.sign * (_column(after, memory) - _column(before, memory)), style=segment.style)
        before = after
    over = before - memory.capacity
    text.append("]" if over <= 0 else f"] {gib(over)} too much")
    return text


def _numbers(memory: MemoryEstimate) -> Iterator[tuple[str, str, str]]:
    """Name, size, note."""
    for segment in _segments(memory):
        yield segment.name, gib(segment.size), segment.note


def _free(memory: MemoryEstimate) -> int:
    return max(0, memory.capacity - memory.weights - memory.overhead - memory.kv_available)


def _column(size: int, memory: MemoryEstimate) -> int:
    return round(BAR_WIDTH * size / max(memory.capacity, memory.weights + memory.overhead))
