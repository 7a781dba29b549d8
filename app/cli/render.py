"""A verdict for people: one screen, in colours on a terminal and as plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from app.cli.verdict import Outcome, Verdict
from app.topology.memory import Memory, gib

BAR = 60
SHOWN = 10
"""Sizes not taken that are listed; -o json has all."""
_STYLES = {Outcome.FIT: "green", Outcome.PENDING: "yellow", Outcome.IMPOSSIBLE: "red", Outcome.UNKNOWN: "yellow"}
_MEANING = {
    Outcome.FIT: "it fits, and the GPUs are free",
    Outcome.PENDING: "it fits the hardware, and waits for GPUs",
    Outcome.IMPOSSIBLE: "it can never run here as it is written",
    Outcome.UNKNOWN: "it would be deployed by what the spec says, and not everything could be checked",
}


def render(verdict: Verdict, service: str, console: Console) -> None:
    """Print the verdict."""
    style = _STYLES[verdict.outcome]
    console.print(Text.assemble(f"{service}: ", (verdict.outcome.value, f"bold {style}")), soft_wrap=True)
    _print(console, f"  {_MEANING[verdict.outcome]}")
    for line in _decision(verdict):
        _print(console, f"  {line}")
    if verdict.memory:
        _memory(verdict, verdict.memory, console)
    _section(console, "Nodes", (f"{name}  {_gpus(gpus)}" for name, gpus in verdict.nodes.items()))
    counts = sorted(verdict.excluded.items(), key=lambda pair: (-pair[1], pair[0]))
    _section(console, f"Nodes not taken: {sum(verdict.excluded.values())}", (f"{n:>4}  {why}" for why, n in counts))
    _section(console, "Why", verdict.reasons)
    _section(console, "Sizes not taken", _first(verdict.rejected))
    _section(console, "Not checked", verdict.unchecked)
    if verdict.effect:
        _section(console, "What applying it does", (verdict.effect.message, *verdict.effect.changes))


def _decision(verdict: Verdict) -> Iterator[str]:
    if verdict.sizes:
        yield f"{verdict.product or 'any product'}, {verdict.sizes}"
    memory = verdict.memory
    if memory and memory.fits and verdict.outcome is not Outcome.IMPOSSIBLE:
        length = verdict.max_model_len or memory.length
        how_many = f"{memory.sequences:,} sequence{'s' * (memory.sequences != 1)}"
        yield f"{how_many} of the full length of {length:,} tokens at once"


def _memory(verdict: Verdict, memory: Memory, console: Console) -> None:
    _heading(console, f"Memory of one GPU ({gib(memory.capacity)})")
    cache = max(0, memory.usable - memory.weights - memory.overhead)
    parts = (
        ("weights", memory.weights, "█", "blue"),
        ("overhead", memory.overhead, "▓", "magenta"),
        ("KV cache", cache, "▒", "green"),
        ("free", max(0, memory.capacity - max(memory.usable, memory.weights + memory.overhead)), "·", "dim"),
    )
    bar = Text("  ")
    for (_, _, sign, style), width in zip(parts, _widths([it[1] for it in parts], memory.capacity), strict=True):
        bar.append(sign * width, style)
    console.print(bar, soft_wrap=True)
    notes = {
        "KV cache": f"  {memory.kv_per_token:,} bytes a token, {gib(memory.kv_per_sequence)} for a sequence of "
        f"{memory.length:,} tokens",
        "free": "  outside gpu_memory_utilization",
    }
    for name, size, sign, style in parts:
        console.print(
            Text.assemble("  ", (sign, style), f" {name:<9}{gib(size):>11}{notes.get(name, '')}"), soft_wrap=True
        )
    lacking = memory.needed - memory.capacity
    if lacking > 0 or not memory.fits:
        _print(console, f"    lacks    {gib(max(0, lacking)):>11}  for one sequence of {memory.length:,} tokens")


def _widths(sizes: list[int], capacity: int) -> list[int]:
    """Signs for each part: rounded where parts meet, so that they fill the bar; what exceeds it is cut off."""
    ends, total = [0], 0
    for size in sizes:
        total += size
        ends.append(min(BAR, round(BAR * total / capacity)))
    return [end - start for start, end in pairwise(ends)]


def _section(console: Console, title: str, lines: Iterable[str]) -> None:
    found = list(lines)
    if found:
        _heading(console, title)
    for line in found:
        _print(console, f"  {line}")


def _first(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"and {rest} more"] if rest > 0 else [])]


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold"), soft_wrap=True)


def _print(console: Console, text: str) -> None:
    """As it is: nothing in it is markup, and lines are not broken."""
    console.print(Text(text), soft_wrap=True)


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
