"""How a checkpoint says that its weights are quantised (config.json: quantization_config) -> Quantization.

Modules that are left as they are stand there layer by layer, or as a pattern over all layers. What they say of most
layers counts for all of them, and what they say of a few for none.

Sources: vLLM 0.33 (model_executor/layers/quantization), compressed-tensors, AMD Quark.
"""

from __future__ import annotations

import re

from app.fit.hf_config.values import ConfigError, Values
from app.fit.model import Quantization

_ATTENTION = ("self_attn", "attention", "q_proj", "qkv")
_SHARED_EXPERTS = ("shared_experts", "shared_expert.")
_BESIDE_TEXT = ("visual", "vision", "audio")
"""Towers have attention of their own, which counts as nothing here."""
_LAYER = re.compile(r"\.([0-9]{1,4})\.")


def parse_quantization(values: Values | None, layers: int) -> Quantization | None:
    """None when nothing is quantised; ConfigError when the way is not known here."""
    if values is None:
        return None
    method = values.word("quant_method").lower()
    match method:
        case "fp8":
            return Quantization("fp8", 8, _square(values, "weight_block_size"))
        case "fbgemm_fp8" | "ptpc_fp8":
            return Quantization("fp8", 8)
        case "mxfp4":
            return Quantization("mxfp4", 4, (32,), experts_only=True)
        case "gptq" | "awq" | "auto-round" | "auto_round" | "gptq_marlin" | "awq_marlin":
            return _integers(values)
        case "compressed-tensors" | "compressed_tensors":
            return _compressed(values, layers)
        case "quark":
            return _quark(values, layers)
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


def _square(values: Values, key: str) -> tuple[int, ...]:
    """Rows and columns that share a scale, () when they are not given: whoever reads one number loses the rule."""
    block = tuple(values.numbers(key))
    if len(block) not in (0, 2):
        raise ConfigError(f"{key} is {list(block)}, not rows and columns")
    return block


_Format = tuple[str, int, tuple[int, ...]]
"""Number format, bits, and the weights that share a scale."""


def _compressed(values: Values, layers: int) -> Quantization | None:
    """All groups must store weights alike; without any, or with activations alone, nothing is quantised."""
    groups = values.checked_part("config_groups")
    if groups is None:
        raise ConfigError("quantization_config has no config_groups, so what is quantised is not known")
    weights = [part for group in groups.parts() if (part := group.checked_part("weights"))]
    if not weights:
        return None
    return _build(_only({_compressed_weights(part) for part in weights}), values.names("ignore"), layers)


def _only(found: set[_Format]) -> _Format:
    if len(found) > 1:
        raise ConfigError("quantization_config has groups of several formats: such a model cannot be counted")
    [one] = found
    return one


def _compressed_weights(weights: Values) -> _Format:
    bits, kind, strategy = weights.count("num_bits", 8), weights.word("type"), weights.word("strategy")
    block = _square(weights, "block_structure") if strategy == "block" else ()
    if kind == "int":
        return _integer_format(bits), bits, block or _group(weights)
    if bits == 8:
        group = _group(weights) if strategy == "group" else ()
        return ("mxfp8" if group == (32,) else "fp8"), 8, block or group
    if bits == 4 and weights.number("group_size") == 32:
        return "mxfp4", 4, (32,)
    raise ConfigError(f"weights of {bits} bits, {kind or 'untyped'}, are not known here")


_QUARK_EXCEPTIONS = ("layer_quant_config", "layer_type_quant_config")


def _quark(values: Values, layers: int) -> Quantization | None:
    """Layers with settings of their own must store weights like all others, whose settings may quantise nothing."""
    general = values.checked_part("global_quant_config")
    if general is None:
        raise ConfigError("quantization_config has no global_quant_config, so what is quantised is not known")
    special = [part for key in _QUARK_EXCEPTIONS if (own := values.checked_part(key)) for part in own.parts()]
    weights = [part.checked_part("weight") for part in (general, *special)]
    if not any(weights):
        return None
    if not all(weights):
        raise ConfigError("quantization_config quantises some layers only: such a model cannot be counted")
    return _build(_only({_quark_weights(part) for part in weights if part}), values.names("exclude"), layers)


def _quark_weights(weights: Values) -> _Format:
    kind = weights.word("dtype")
    group = _group(weights) if weights.word("qscheme") == "per_group" else ()
    if kind.startswith("fp8"):
        return "fp8", 8, group
    if kind == "fp4":
        return "mxfp4", 4, group or (32,)
    if kind in ("int4", "uint4", "int8", "uint8"):
        return kind.removeprefix("u"), 4 if kind.endswith("4") else 8, group
    raise ConfigError(f"Quark weights of type {kind or '(none named)'} are not known here")


def _build(found: _Format, ignored: list[str], layers: int) -> Quantization:
    """With what is left as it is; the head always is, and is counted apart."""
    number_format, bits, block = found
    attention, shared = (_spares(words, ignored, layers) for words in (_ATTENTION, _SHARED_EXPERTS))
    return Quantization(
        number_format, bits, block, experts_only=attention and shared, plain_attention=attention and not shared
    )


def _spares(words: tuple[str, ...], ignored: list[str], layers: int) -> bool:
    """Whether names with one of these words mean most layers, or all."""
    names = [name for whole in ignored for name in whole.replace("\\", "").split("|")]
    text = [name for name in names if not any(word in name for word in _BESIDE_TEXT)]
    found = [_LAYER.search(name) for name in text if any(word in name for word in words)]
    numbers = {int(match[1]) for match in found if match}
    return None in found or len(numbers & set(range(layers))) * 2 > layers
