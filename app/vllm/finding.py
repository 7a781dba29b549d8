"""What a check has to say about one field of the user's spec."""

from __future__ import annotations

import difflib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise


class Severity(StrEnum):
    """Whether the workload may start anyway."""

    ERROR = "error"
    """vLLM would refuse to start, or would be started wrongly."""
    WARNING = "warning"
    """It may be right with another vLLM version."""


@dataclass(frozen=True)
class Finding:
    """`path` is the field below spec, for example vllm.engineArgs.max_model_len."""

    severity: Severity
    path: str
    message: str
    name: str = ""
    """What is unknown, where that is what is wrong."""
    known: Iterable[str] = field(default=(), compare=False, repr=False)
    """Names that are known instead."""

    @property
    def group(self) -> str:
        """The map that the field is an entry of, for example vllm.envVars."""
        return ".".join(self.path.split(".", 2)[:2])


def error(path: str, message: str) -> Finding:
    return Finding(Severity.ERROR, path, message)


def warning(path: str, message: str) -> Finding:
    return Finding(Severity.WARNING, path, message)


HINTS = 5
"""Unknown names that get a sentence of their own, with the nearest known name; the others are counted."""
_HINT_LENGTH = 64
"""Characters of the longest text whose nearest name is looked for: the search grows with the square of them."""
_CANDIDATES = 12
"""Known names that are compared closely."""


def unknown(path: str, message: str, name: str, known: Iterable[str]) -> Finding:
    """A warning about a name that is not among the known ones."""
    return Finding(Severity.WARNING, path, message, name, known)


def with_hints(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Unknown names with the nearest known one; of many, the first few, and how many more there are."""
    told, left = 0, Counter[str]()
    for finding in findings:
        if not finding.name:
            yield finding
        elif told < HINTS:
            told += 1
            yield warning(finding.path, f"{finding.message}{did_you_mean(finding.name, tuple(finding.known))}")
        else:
            left[finding.group] += 1
    yield from (warning(path, f"{more} more of its names are unknown too") for path, more in left.items())


@lru_cache(maxsize=1024)
def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """A hint with the nearest known name, or nothing when none is near."""
    if len(name) > _HINT_LENGTH:
        return ""
    pairs = _pairs(name)
    likely = heapq.nlargest(_CANDIDATES, known, key=lambda it: len(pairs & _pairs(it)) / (len(name) + len(it)))
    nearest = difflib.get_close_matches(name, likely, n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


@lru_cache(maxsize=2048)
def _pairs(name: str) -> frozenset[tuple[str, str]]:
    """Characters that follow each other: names that are alike share most of them."""
    return frozenset(pairwise(name))
