"""The answer to one question, before anybody prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.topology.memory import Memory


class Outcome(StrEnum):
    """What would become of the service."""

    FIT = "fit"
    """It fits, and the GPUs are free."""
    PENDING = "pending"
    """The hardware could hold it, and is in use."""
    IMPOSSIBLE = "impossible"
    """No hardware here could ever hold it, or the spec contradicts itself."""
    UNKNOWN = "unknown"
    """Nothing is known of the model, or of the nodes: it would be deployed by what the spec says, unchecked."""


@dataclass(frozen=True)
class Sizes:
    """Parallel sizes of one group."""

    tensor: int
    pipeline: int
    data: int
    expert: bool = False

    def __str__(self) -> str:
        sizes = f"TP {self.tensor} x PP {self.pipeline} x DP {self.data}"
        return f"{sizes} with expert parallelism" if self.expert else sizes


@dataclass(frozen=True)
class Effect:
    """What applying the service would do to what runs."""

    message: str
    restarts: bool = False
    changes: tuple[str, ...] = ()
    """Field by field: before -> after."""


@dataclass(frozen=True)
class Verdict:
    """Everything that is said about one service."""

    outcome: Outcome
    product: str = ""
    sizes: Sizes | None = None
    max_model_len: int | None = None
    nodes: Mapping[str, int] = field(default_factory=dict)
    """GPUs by node."""
    memory: Memory | None = None
    """Of the GPU with the least room."""
    reasons: tuple[str, ...] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Nodes by reason; with those taken they are all."""
    foreign_use_unknown: bool = False
    rejected: tuple[str, ...] = ()
    """Sizes that were looked at and not taken."""
    unchecked: tuple[str, ...] = ()
    effect: Effect | None = None


def to_line(verdict: Verdict) -> dict[str, Any]:
    """The JSON object of a batch's line; every key is always there."""
    sizes = verdict.sizes
    return {
        "outcome": verdict.outcome.value,
        "product": verdict.product or None,
        "tensorParallel": sizes.tensor if sizes else None,
        "pipelineParallel": sizes.pipeline if sizes else None,
        "dataParallel": sizes.data if sizes else None,
        "expertParallel": sizes.expert if sizes else None,
        "maxModelLen": verdict.max_model_len,
        "nodes": [{"name": name, "gpus": gpus} for name, gpus in verdict.nodes.items()],
        "memory": _memory(verdict.memory),
        "reasons": list(verdict.reasons),
        "excluded": dict(verdict.excluded),
        "foreignUseUnknown": verdict.foreign_use_unknown,
    }


def to_json(verdict: Verdict) -> dict[str, Any]:
    """The object of `-o json`: a batch's line, and what only one question has."""
    effect = verdict.effect
    told = {"message": effect.message, "restarts": effect.restarts, "changes": list(effect.changes)} if effect else None
    more = {"rejected": list(verdict.rejected), "unchecked": list(verdict.unchecked), "effect": told}
    return to_line(verdict) | more


def _memory(memory: Memory | None) -> dict[str, int] | None:
    if memory is None:
        return None
    return {
        "weightsBytes": memory.weights,
        "kvCacheBytesPerToken": memory.kv_per_token,
        "overheadBytes": memory.overhead,
        "budgetBytes": memory.usable,
        "maxSequences": memory.sequences,
    }
