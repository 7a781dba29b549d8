"""The memory of one GPU as a bar and in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from app.fit.memory.estimate import MemoryEstimate, gib

WIDTH = 60
"""Characters of a whole GPU."""


@dataclass(frozen=True)
class Segment:
    name: str
    size: int
    """Bytes."""
    sign: str
    style: str
    note: str = ""


def segments(memory: MemoryEstimate) -> list[Segment]:
    """From left to right. vLLM takes for the KV cache whatever its share leaves; the rest stays free."""
    whole = f"{memory.sequences:,} sequence{'s' * (memory.sequences != 1)} of {memory.length:,} tokens"
    one = f"one sequence of {memory.length:,} tokens takes {gib(memory.kv_per_sequence)}"
    return [
        Segment("weights", memory.weights, "█", "blue"),
        Segment("overhead", memory.overhead, "▓", "yellow", "activations, graphs, RCCL: estimated, not measured"),
        Segment("KV cache", memory.kv_available, "▒", "green", f"{whole}; {one}"),
        Segment("free", _free(memory), "·", "dim", f"vLLM may use {gib(memory.usable)} of {gib(memory.capacity)}"),
    ]


def draw(memory: MemoryEstimate) -> Text:
    """The bar; what does not fit stands out over the end."""
    text, before = Text("["), 0
    for segment in segments(memory):
        after = before + segment.size
        text.append(segment.sign * (_column(after, memory) - _column(before, memory)), style=segment.style)
        before = after
    over = before - memory.capacity
    text.append("]" if over <= 0 else f"] {gib(over)} too much")
    return text


def numbers(memory: MemoryEstimate) -> Iterator[tuple[str, str, str]]:
    """Name, size, note."""
    for segment in segments(memory):
        yield segment.name, gib(segment.size), segment.note


def _free(memory: MemoryEstimate) -> int:
    return max(0, memory.capacity - memory.weights - memory.overhead - memory.kv_available)


def _column(size: int, memory: MemoryEstimate) -> int:
    return round(WIDTH * size / max(memory.capacity, memory.weights + memory.overhead))
