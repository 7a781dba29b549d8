"""Number formats, in bits a value.

    weights of linear layers    as the checkpoint stores them, scales included:
                                    fp8, a 32-bit scale for each 128 x 128 block     8 + 32/16384 = 8.002
                                    mxfp4, an 8-bit scale for each group of 32       4 +  8/32    = 4.25
                                    int4, a 16-bit scale for each group of 128       4 + 16/128   = 4.125
                                else 8 with precision fp8, which quantises while loading, else as all others
    other weights               32 with precision fp32, else 16 (embedding, head, norms, router, biases)
    KV cache                    8 with an 8-bit kv_cache_dtype, else that of the activations: 32 or 16; rarer formats
                                of less than 8 bits count as 16, an upper bound

int8 and int4 change nothing by themselves: vLLM cannot quantise to them while loading, it reads them from checkpoints.
Source: vLLM 0.33, quantisation methods of its ROCm platform; file sizes of gpt-oss and DeepSeek-V3.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from math import prod

from app.fit.memory.layers import Part, Split
from app.fit.model import Quantization


class Precision(StrEnum):
    """Number format of the weights, as the specification names it."""

    FP16 = "fp16"
    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"


def weight_bits(part: Part, quantization: Quantization | None, precision: Precision | None) -> Fraction:
    """Bits of one parameter of this part in GPU memory; None = the checkpoint's own precision."""
    if part.linear and quantization and not _is_spared(part, quantization):
        return quantized_bits(quantization)
    if part.linear and quantization is None and precision is Precision.FP8:
        return Fraction(8)
    return Fraction(_activation_bits(precision))


def _is_spared(part: Part, quantization: Quantization) -> bool:
    """Whether a linear layer of a quantised checkpoint is stored like those of all others."""
    beside_experts = quantization.experts_only and part.split is not Split.EXPERTS
    return beside_experts or (quantization.plain_attention and part.attention)


def quantized_bits(quantization: Quantization) -> Fraction:
    """Bits of a quantised weight and its share of the scale; a scale for a whole row or tensor counts as nothing."""
    scale = Fraction(_scale_bits(quantization.format), prod(quantization.block)) if quantization.block else 0
    return quantization.bits + Fraction(scale)


def kv_bits(kv_cache_dtype: str, precision: Precision | None) -> int:
    """Bits of one cached value; `kv_cache_dtype` is vLLM's argument, "auto" when it was not given."""
    return 8 if kv_cache_dtype.startswith(("fp8", "int8")) else _activation_bits(precision)


def _activation_bits(precision: Precision | None) -> int:
    return 32 if precision is Precision.FP32 else 16


def _scale_bits(number_format: str) -> int:
    if number_format.startswith("mx"):
        return 8
    return 32 if number_format == "fp8" else 16
