"""engineArgs -> what memory arithmetic must know of them. What is mistyped counts as not said: the check of the
arguments reports it."""

from __future__ import annotations

from typing import Any

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.fit.memory.estimate import Engine
from app.fit.memory.precision import Precision
from app.vllm.values import is_share, parse_number, parse_size

FP8_WHILE_LOADING = frozenset({"fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel"})
"""Values of the argument quantization that make FP8 of any weights."""
_UTILIZATION = Engine().gpu_memory_utilization


def engine_needs(
    spec: InferenceServiceSpec, limit: int | None = None, architectures: tuple[str, ...] | None = None
) -> Engine:
    """The engine of a spec; engineArgs win over the simple fields, as they do on the command line. `limit` is the
    longest sequence that the model takes: more is not served, so it needs no memory. `architectures` are the gfx names
    that the image was built for, None = not known."""
    arguments = spec.known_arguments
    return Engine(
        precision=_precision(spec, arguments),
        max_model_len=_at_most(limit, parse_size(arguments.get("max_model_len")) or spec.model.max_tokens),
        kv_cache_dtype=str(arguments.get("kv_cache_dtype", "auto")),
        gpu_memory_utilization=_share(arguments.get("gpu_memory_utilization")) or _UTILIZATION,
        max_num_batched_tokens=parse_size(arguments.get("max_num_batched_tokens")) or None,
        expert_parallel=_switch(arguments.get("enable_expert_parallel")),
        architectures=architectures,
    )


def quantization_method(spec: InferenceServiceSpec) -> str:
    """vLLM's argument quantization, "" when nothing was said; it reads "None" as nothing too."""
    value = spec.known_arguments.get("quantization")
    return value if isinstance(value, str) and value != "None" else ""


def _at_most(limit: int | None, asked: int | None) -> int | None:
    return min(limit, asked) if limit and asked else asked


def _precision(spec: InferenceServiceSpec, arguments: dict[str, Any]) -> Precision | None:
    if quantization_method(spec) in FP8_WHILE_LOADING:
        return Precision.FP8
    return Precision.FP32 if arguments.get("dtype") in ("float32", "float") else spec.model.precision


def _share(value: Any) -> float | None:
    number = parse_number(value)
    return number if number and is_share(number) else None


def _switch(value: Any) -> bool | None:
    return {True: True, False: False, "true": True, "false": False}.get(value) if _hashable(value) else None


def _hashable(value: Any) -> bool:
    return isinstance(value, bool | str)
