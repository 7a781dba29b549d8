"""Spec + what is known of the model -> what the fit engine is asked about: the engine, and the model as it is served.

What is mistyped in engineArgs counts as not said: the check of the arguments reports it.

The catalogue lists a name once, as its publisher stores it, and older checkpoints tell their quantisation in a file
beside config.json. Where engineArgs.quantization names a format, the weights are taken to have it, whoever quantised
them. Where it names a method of several formats, nothing is known: 16 bits would be a guess, and far too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.fit.memory.estimate import Engine
from app.fit.memory.precision import Precision
from app.fit.model import ModelFacts, Quantization
from app.vllm.values import is_share, parse_number, parse_size

FP8_WHILE_LOADING = frozenset({"fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel"})
"""Values of the argument quantization that make FP8 of any weights."""
_UTILIZATION = Engine().gpu_memory_utilization
_MXFP4 = Quantization("mxfp4", 4, (32,))
_INT4 = Quantization("int4", 4, (128,))
STORED: Mapping[str, Quantization] = {
    "mxfp4": _MXFP4,
    "gpt_oss_mxfp4": replace(_MXFP4, experts_only=True),
    "mxfp8": Quantization("mxfp8", 8, (32,)),
    "fbgemm_fp8": Quantization("fp8", 8),
    "awq": _INT4,
    "auto_awq": _INT4,
    "awq_marlin": _INT4,
    "gptq": _INT4,
    "auto_gptq": _INT4,
    "gptq_marlin": _INT4,
    "auto-round": _INT4,
}
"""Values of the argument that name a number format; groups are of the usual size."""


def parse_engine(
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


def as_served(facts: ModelFacts, spec: InferenceServiceSpec) -> ModelFacts | None:
    """What the facts say of quantisation goes first; None when the argument does not tell the format."""
    method = quantization_method(spec)
    if facts.quantization or not method or method in FP8_WHILE_LOADING:
        return facts
    stored = STORED.get(method)
    return replace(facts, quantization=stored) if stored else None


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
