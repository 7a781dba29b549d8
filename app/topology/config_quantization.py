"""`quantization_config` of a config.json, as the tools that quantise checkpoints write it.

    quant_method            read from
    fp8                     weight_block_size; missing = a scale for each tensor
    fbgemm_fp8              fp8, a scale for each row
    mxfp4                   groups of 32 along the row, of experts only
    mxfp8                   groups of 32 along the row
    gptq, awq               bits (w_bit), group_size (q_group_size); -1 = a whole row
    compressed-tensors      config_groups.*.weights: num_bits, type, strategy, group_size, block_structure
    quark                   global_quant_config.weight: dtype, qscheme, group_size

Where several formats are mixed, the widest counts for all. Tools name the layers that they leave alone: is attention
among them, only the experts count as quantised. Sources: transformers 5.23 and compressed-tensors (their configuration
classes); the formats that vLLM 0.33 takes on ROCm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from app.topology.config_fields import Fields, UnreadableError, shown
from app.topology.models import Quantization

_LEFT_ALONE = ("modules_to_not_convert", "ignored_layers", "ignore", "exclude")
_ATTENTION = ("self_attn", "attention.")
_MX_GROUP = 32
_WIDEST_BLOCK = 2**20


def read_quantization(config: Fields) -> Quantization | None:
    """How the checkpoint stores linear layers; None = all alike, in 16 or 32 bits."""
    part = config.part("quantization_config") or config.part("compression_config")
    if part is None:
        return None
    method = part.text("quant_method").lower().replace("_", "-")
    reader = _METHODS.get(method)
    if reader is None:
        raise UnreadableError(f"quantization_config.quant_method {shown(method)} is not known")
    return reader(part)


def leaves_attention_alone(config: Fields) -> bool:
    """Whether layers of attention keep 16 bits; norms and the small projections beside them do not count."""
    part = config.part("quantization_config") or config.part("compression_config")
    names = [name for key in _LEFT_ALONE if part for name in part.texts(key)]
    kept = (name for name in names if not name.endswith(("norm", "kv_b_proj", "rotary_emb")))
    return any(word in name for name in kept for word in _ATTENTION)


def _fp8(part: Fields) -> Quantization:
    block = part.counts("weight_block_size", least=1)
    return Quantization("fp8", 8, _block(block))


def _fp8_rows(part: Fields) -> Quantization:
    return Quantization("fp8", 8)


def _mxfp4(part: Fields) -> Quantization:
    return Quantization("mxfp4", 4, (_MX_GROUP,), experts_only=True)


def _mxfp8(part: Fields) -> Quantization:
    return Quantization("mxfp8", 8, (_MX_GROUP,))


def _gptq(part: Fields) -> Quantization:
    return _integer(part.count("bits"), _group(part, "group_size"))


def _awq(part: Fields) -> Quantization:
    bits = part.count("bits", default=part.count("w_bit", default=4))
    return _integer(bits, _group(part, "group_size") or _group(part, "q_group_size"))


def _compressed(part: Fields) -> Quantization:
    groups = part.part("config_groups")
    names = groups.content if groups else ()
    parts = [group for name in names if groups and (group := groups.part(name))]
    weights = [found for group in parts if (found := group.part("weights"))]
    if not weights:
        raise UnreadableError("quantization_config.config_groups names no weights")
    return _widest([_compressed_weights(item) for item in weights])


def _compressed_weights(part: Fields) -> Quantization:
    bits, number = part.count("num_bits", default=8), part.text("type", "int")
    block = _block(part.counts("block_structure", least=1)) or _group(part, "group_size")
    if number == "int":
        return _integer(bits, block)
    if (number, bits) == ("float", 8):
        return Quantization("fp8", 8, block) if block != (_MX_GROUP,) else Quantization("mxfp8", 8, block)
    if (number, bits, block) == ("float", 4, (_MX_GROUP,)):
        return Quantization("mxfp4", 4, block)
    raise UnreadableError(f"weights of type {shown(number)} with {bits} bits in groups of {list(block)} are not known")


def _quark(part: Fields) -> Quantization:
    overall = part.part("global_quant_config")
    weights = [found for found in (overall.part("weight") if overall else None, *_layer_weights(part)) if found]
    if not weights:
        raise UnreadableError("quantization_config.global_quant_config.weight is missing")
    return _widest([_quark_weights(item) for item in weights])


def _layer_weights(part: Fields) -> list[Fields]:
    layers = part.part("layer_quant_config")
    parts = [found for name in (layers.content if layers else ()) if layers and (found := layers.part(name))]
    return [weight for item in parts if (weight := item.part("weight"))]


def _quark_weights(part: Fields) -> Quantization:
    dtype, group = part.text("dtype"), _group(part, "group_size")
    if dtype.startswith("fp8"):
        return Quantization("mxfp8" if group == (_MX_GROUP,) else "fp8", 8, group)
    if dtype == "fp4" and group == (_MX_GROUP,):
        return Quantization("mxfp4", 4, group)
    if dtype in _INTEGERS:
        return _integer(_INTEGERS[dtype], group)
    raise UnreadableError(f"quark's dtype {shown(dtype)} in groups of {list(group)} is not known")


def _integer(bits: int, block: tuple[int, ...]) -> Quantization:
    if bits not in (4, 8):
        raise UnreadableError(f"weights of {bits} bits are not known: 4 and 8 are")
    return Quantization(f"int{bits}", bits, block)


def _group(part: Fields, key: str) -> tuple[int, ...]:
    """Weights along a row that share a scale; -1, 0 and nothing mean the whole row."""
    if part.content.get(key) in (-1, 0):
        return ()
    return _block((part.count(key),)) if part.has(key) else ()


def _block(sides: tuple[int, ...]) -> tuple[int, ...]:
    if len(sides) > 2 or any(side > _WIDEST_BLOCK for side in sides):
        raise UnreadableError(f"a scale for each block of {list(sides[:3])} weights is not known")
    return sides


def _widest(formats: list[Quantization]) -> Quantization:
    return max(formats, key=lambda item: (item.bits, item.format, item.block))


_INTEGERS = MappingProxyType({"int8": 8, "uint8": 8, "int4": 4, "uint4": 4})
_METHODS: Mapping[str, Callable[[Fields], Quantization]] = MappingProxyType(
    {
        "fp8": _fp8,
        "fbgemm-fp8": _fp8_rows,
        "mxfp4": _mxfp4,
        "mxfp8": _mxfp8,
        "gptq": _gptq,
        "awq": _awq,
        "compressed-tensors": _compressed,
        "quark": _quark,
    }
)
