"""How a checkpoint says that its weights are quantised (config.json: quantization_config) -> Quantization.

Sources: vLLM 0.33 (model_executor/layers/quantization), compressed-tensors, AMD Quark.
"""

from __future__ import annotations

from app.topology.config_values import ConfigError, Values
from app.topology.models import Quantization

_ATTENTION = ("self_attn", "attention", "q_proj", "qkv")
"""Modules that are left as they are when only experts, or only MLPs, are quantised."""


def parse_quantization(values: Values | None) -> Quantization | None:
    """None when nothing is quantised; ConfigError when the way is not known here."""
    if values is None:
        return None
    method = values.word("quant_method").lower()
    match method:
        case "fp8":
            return Quantization("fp8", 8, tuple(values.numbers("weight_block_size")))
        case "fbgemm_fp8" | "ptpc_fp8":
            return Quantization("fp8", 8)
        case "mxfp4":
            return Quantization("mxfp4", 4, (32,), experts_only=True)
        case "gptq" | "awq" | "auto-round" | "auto_round" | "gptq_marlin" | "awq_marlin":
            return _integers(values)
        case "compressed-tensors" | "compressed_tensors":
            return _compressed(values)
        case "quark":
            return _quark(values)
    raise ConfigError(f"quantisation method {method or '(none named)'} is not known here")


def _integers(values: Values) -> Quantization:
    bits = values.count("bits", values.count("w_bit", 4))
    return Quantization(_integer_format(bits), bits, _group(values))


def _integer_format(bits: int) -> str:
    if bits not in (4, 8):
        raise ConfigError(f"weights of {bits} bits are not known here")
    return f"int{bits}"


def _group(values: Values) -> tuple[int, ...]:
    """-1 is a whole row."""
    size = values.number("group_size") or values.number("q_group_size")
    return (size,) if size > 0 else ()


def _compressed(values: Values) -> Quantization | None:
    """All groups must store weights alike."""
    groups = values.part("config_groups")
    weights = [part for group in (groups.parts() if groups else []) if (part := group.part("weights"))]
    found = {_compressed_weights(part) for part in weights}
    if len(found) > 1:
        raise ConfigError("quantization_config has groups of several formats: such a model cannot be counted")
    if not found:
        return None
    [(number_format, bits, block)] = found
    return Quantization(number_format, bits, block, experts_only=_spares_attention(values.names("ignore")))


def _compressed_weights(weights: Values) -> tuple[str, int, tuple[int, ...]]:
    bits, kind, strategy = weights.count("num_bits", 8), weights.word("type"), weights.word("strategy")
    block = tuple(weights.numbers("block_structure")) if strategy == "block" else ()
    if kind == "int":
        return _integer_format(bits), bits, block or _group(weights)
    if bits == 8:
        group = _group(weights) if strategy == "group" else ()
        return ("mxfp8" if group == (32,) else "fp8"), 8, block or group
    if bits == 4 and weights.number("group_size") == 32:
        return "mxfp4", 4, (32,)
    raise ConfigError(f"weights of {bits} bits, {kind or 'untyped'}, are not known here")


def _quark(values: Values) -> Quantization | None:
    settings = values.part("global_quant_config")
    weights = settings.part("weight") if settings else None
    if weights is None:
        return None
    kind = weights.word("dtype")
    spared = _spares_attention(values.names("exclude"))
    group = _group(weights) if weights.word("qscheme") == "per_group" else ()
    if kind.startswith("fp8"):
        return Quantization("fp8", 8, group, spared)
    if kind == "fp4":
        return Quantization("mxfp4", 4, group or (32,), spared)
    if kind in ("int4", "uint4", "int8", "uint8"):
        return Quantization(kind.removeprefix("u"), 4 if kind.endswith("4") else 8, group, spared)
    raise ConfigError(f"Quark weights of type {kind or '(none named)'} are not known here")


def _spares_attention(ignored: list[str]) -> bool:
    """Whether attention is among what is not quantised; the head always is, and is counted apart."""
    return any(word in name for name in ignored for word in _ATTENTION)
