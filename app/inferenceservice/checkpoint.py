"""What is known of a model -> the facts of the weights that are served.

The catalogue lists a name once, as its publisher stores it, and older checkpoints tell their quantisation in a file
beside config.json. Where engineArgs.quantization names a format, the weights are taken to have it, whoever quantised
them. Where it names a method of several formats, nothing is known: 16 bits would be a guess, and far too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.fit.model import ModelFacts, Quantization
from app.inferenceservice.engine_needs import FP8_WHILE_LOADING, quantization_method

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


def as_served(facts: ModelFacts, spec: InferenceServiceSpec) -> ModelFacts | None:
    """What the facts say of quantisation goes first; None when the argument does not tell the format."""
    method = quantization_method(spec)
    if facts.quantization or not method or method in FP8_WHILE_LOADING:
        return facts
    stored = STORED.get(method)
    return replace(facts, quantization=stored) if stored else None
