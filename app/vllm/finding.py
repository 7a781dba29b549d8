"""What a check has to say about one field of the user's spec."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


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


def error(path: str, message: str) -> Finding:
    return Finding(Severity.ERROR, path, message)


def warning(path: str, message: str) -> Finding:
    return Finding(Severity.WARNING, path, message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or nothing when none is near."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""
