"""Verdict -> the JSON object of one answer; its keys are an interface, see docs/plan.md."""

from __future__ import annotations

from typing import Any

from app.cli.decide import Verdict
from app.cli.exclusions import excluded_nodes, taken_nodes
from app.cli.outcome import find_outcome, find_reasons
from app.cli.shown import shown_shape
from app.fit.memory.estimate import MemoryEstimate
from app.kube.lenient import value_at

Json = dict[str, Any]


def build_answer(verdict: Verdict) -> Json:
    """Sizes are of one group, memory of one GPU, nodes of all groups."""
    shape = shown_shape(verdict)
    return {
        "outcome": find_outcome(verdict).value,
        "product": shape.product,
        "tensorParallel": shape.tensor,
        "pipelineParallel": shape.pipeline,
        "dataParallel": shape.data,
        "expertParallel": shape.expert_parallel,
        "maxModelLen": shape.max_model_len,
        "nodes": [{"name": name, "gpus": gpus} for name, gpus in taken_nodes(verdict).items()],
        "memory": _memory(shape.memory) if shape.memory else None,
        "reasons": find_reasons(verdict),
        "excluded": excluded_nodes(verdict),
        "foreignUseUnknown": foreign_use_unknown(verdict),
    }


def foreign_use_unknown(verdict: Verdict) -> bool:
    """Whether what pods of no service hold is not known for some node; it was counted as free."""
    said = value_at(verdict.allocation, "spec", "foreignUseUnknown") is True
    return said or any(node.unmanaged_usage is None for node in verdict.pool_nodes)


def _memory(memory: MemoryEstimate) -> Json:
    return {
        "weightsBytes": memory.weights,
        "kvCacheBytesPerToken": memory.kv_per_token,
        "overheadBytes": memory.overhead,
        "budgetBytes": memory.usable,
        "maxSequences": memory.sequences,
    }
