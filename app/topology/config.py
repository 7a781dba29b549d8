"""A Hugging Face config.json -> facts of the model, or the reason why it cannot be read.

Models that carry more than text (Gemma 3, Llama 4, Mistral 3) keep the sizes in `text_config`. Only classes whose
parameters are known are read (module config_families): to count a class by the rules of another would be a guess.

    longest sequence    max_position_embeddings, but with rope scaling:
                            yarn                original_max_position_embeddings x factor
                            longrope, su        original_max_position_embeddings
                            linear, dynamic     x factor, unless the model's class counted it in (Gemma 3)
                            llama3, default     as it is
    layers of a kind    layer_types where it is given, else the pattern of the class
    experts             in every n-th layer after the first dense ones; any other list of layers is a reason

Sources: transformers 5.23; vLLM's model configuration for the longest sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.topology.config_families import FAMILIES, Family
from app.topology.config_fields import Fields, UnreadableError, shown
from app.topology.config_quantization import leaves_attention_alone, read_quantization
from app.topology.models import (
    MOST_LAYERS,
    Experts,
    LatentAttention,
    LinearAttention,
    ModelFacts,
    Quantization,
    SlidingWindow,
    parse_facts,
    to_json,
)
from app.topology.weights import stored_bytes

_SMALLEST_SHARE = 8
"""Weight files smaller than the formula's size by more than this are of another model, or not all of them."""


@dataclass(frozen=True)
class Unreadable:
    """Why nothing is known of the model."""

    reason: str


def parse_config(content: Mapping[str, object], weight_bytes: int | None = None) -> ModelFacts | Unreadable:
    """Facts in the content of a config.json; `weight_bytes` = bytes of all weight files, None = not known."""
    try:
        return _with_weights(_parse(Fields(content)), Fields(content), weight_bytes)
    except UnreadableError as error:
        return Unreadable(str(error))


def _parse(whole: Fields) -> ModelFacts:
    architecture, family = _class(whole)
    text = whole.part("text_config") or whole
    config = Fields(dict((*family.defaults, *_given(text))), text.path)
    layers = config.count("num_hidden_layers")
    if layers > MOST_LAYERS:
        raise UnreadableError(f"num_hidden_layers {layers:,} is more than any model has ({MOST_LAYERS:,} at most)")
    facts = _facts(architecture, family, config, layers)
    facts = replace(facts, tied_embeddings=_tied(whole, config), quantization=_quantization(whole))
    if parse_facts(to_json(facts)) != facts:
        raise UnreadableError("the sizes contradict each other: heads, widths and special layers")
    return facts


def _class(whole: Fields) -> tuple[str, Family]:
    names = whole.texts("architectures")
    if not names:
        raise UnreadableError("architectures is missing: it names the model's class")
    if names[0] not in FAMILIES:
        raise UnreadableError(f"the parameters of {shown(names[0])} are not known here")
    return names[0], FAMILIES[names[0]]


def _given(config: Fields) -> list[tuple[str, object]]:
    return [(key, value) for key, value in config.content.items() if value is not None]


def _facts(architecture: str, family: Family, config: Fields, layers: int) -> ModelFacts:
    heads, bias = config.count("num_attention_heads"), config.flag("attention_bias")
    return ModelFacts(
        architecture=architecture,
        layers=layers,
        hidden_size=config.count("hidden_size"),
        heads=heads,
        kv_heads=config.count("num_key_value_heads", default=heads),
        intermediate_size=config.count(family.dense_width),
        vocab_size=config.count("vocab_size"),
        head_dim=None if family.latent else _head_dim(config, heads),
        max_position=_longest(architecture, config),
        qkv_bias=bias if family.qkv_bias is None else family.qkv_bias,
        output_bias=bias if family.output_bias is None else family.output_bias,
        output_gate=family.output_gate,
        qk_norm=config.flag("use_qk_norm") if family.qk_norm is None else family.qk_norm,
        sinks=family.sinks,
        norms=family.norms,
        latent=_latent(config) if family.latent else None,
        sliding=None if family.linear else _sliding(family, config, layers),
        linear=_linear(family, config, layers) if family.linear else None,
        experts=_experts(family, config, layers) if family.experts else None,
        draft_layers=config.count("num_nextn_predict_layers", default=0, least=0),
    )


def _head_dim(config: Fields, heads: int) -> int:
    return config.count("head_dim", default=config.count("hidden_size") // heads)


def _tied(whole: Fields, config: Fields) -> bool:
    """The outer object speaks for the whole model."""
    return whole.flag("tie_word_embeddings", default=config.flag("tie_word_embeddings"))


def _longest(architecture: str, config: Fields) -> int | None:
    if not config.has("max_position_embeddings"):
        return None
    own = config.count("max_position_embeddings")
    scaling = config.part("rope_scaling") or config.part("rope_parameters") or Fields({})
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    original = scaling.count("original_max_position_embeddings", config.count("original_max_position_embeddings", own))
    if kind in ("longrope", "su"):
        return original
    if kind == "yarn":
        return int(original * scaling.number("factor", 1))
    scaled = kind in ("linear", "dynamic") and not architecture.startswith("Gemma3")
    return int(own * scaling.number("factor", 1)) if scaled else own


def _latent(config: Fields) -> LatentAttention:
    return LatentAttention(
        kv_rank=config.count("kv_lora_rank"),
        nope_dim=config.count("qk_nope_head_dim"),
        rope_dim=config.count("qk_rope_head_dim"),
        value_dim=config.count("v_head_dim"),
        query_rank=config.count("q_lora_rank") if config.has("q_lora_rank") else None,
    )


def _linear(family: Family, config: Fields, layers: int) -> LinearAttention | None:
    every = config.count("full_attention_interval", default=family.full_every)
    special = _special_layers(config, layers, layers - layers // every)
    if not special:
        return None
    return LinearAttention(
        layers=special,
        key_heads=config.count("linear_num_key_heads"),
        value_heads=config.count("linear_num_value_heads"),
        key_dim=config.count("linear_key_head_dim"),
        value_dim=config.count("linear_value_head_dim"),
        conv_kernel=config.count("linear_conv_kernel_dim"),
    )


def _sliding(family: Family, config: Fields, layers: int) -> SlidingWindow | None:
    """A window of 0 or null is none; a model whose window may be missing attends to everything, as an upper bound."""
    off = family.optional_window and not config.flag("use_sliding_window")
    if off or not config.has(family.window) or config.content[family.window] == 0:
        return None
    special = _special_layers(config, layers, _windowed(family, config, layers))
    return SlidingWindow(special, config.count(family.window)) if special else None


def _windowed(family: Family, config: Fields, layers: int) -> int:
    """Layers with a window, where they are not listed one by one."""
    if family.optional_window:
        return max(0, layers - config.count("max_window_layers", default=0, least=0))
    without_rope = config.counts("no_rope_layers")
    if without_rope:
        return _listed("no_rope_layers", len(without_rope), layers) and sum(item > 0 for item in without_rope)
    pattern = config.count("no_rope_layer_interval", config.count("sliding_window_pattern", family.full_every, 0), 0)
    return layers - layers // pattern if pattern else layers


def _special_layers(config: Fields, layers: int, otherwise: int) -> int:
    """Layers that are not of full attention."""
    kinds = config.texts("layer_types")
    if not kinds:
        return otherwise
    return _listed("layer_types", len(kinds), layers) and sum(kind != "full_attention" for kind in kinds)


def _listed(name: str, length: int, layers: int) -> int:
    if length != layers:
        raise UnreadableError(f"{name} lists {length} layers, and num_hidden_layers is {layers}")
    return length


def _experts(family: Family, config: Fields, layers: int) -> Experts | None:
    if not config.has(family.experts) and family.latent:
        return None
    width = config.count(family.expert_width)
    first, every = _places(family, config, layers)
    method = config.text("topk_method", "noaux_tc")
    return Experts(
        count=config.count(family.experts),
        intermediate_size=width,
        shared_size=_shared(family, config, width),
        first_dense=first,
        every=every,
        bias=family.expert_bias,
        router_bias=method == "noaux_tc" if family.router_bias is None else family.router_bias,
        shared_gate=family.shared_gate,
    )


def _shared(family: Family, config: Fields, width: int) -> int:
    if family.shared == "n_shared_experts":
        return width * config.count("n_shared_experts", default=0, least=0)
    return config.count(family.shared, default=0, least=0) if family.shared else 0


def _places(family: Family, config: Fields, layers: int) -> tuple[int, int]:
    """Dense layers before the first with experts, and every which layer has them from there on."""
    first = config.count("first_k_dense_replace", default=0, least=0) if not family.every or family.latent else 0
    every = config.count(family.every, default=1) if family.every else 1
    dense, sparse = config.counts("mlp_only_layers"), config.counts("moe_layers")
    if dense:
        first = len(set(dense))
    expected = [index for index in range(layers) if index >= first and (index + 1) % every == 0]
    if (dense and sorted(set(dense)) != list(range(first))) or (sparse and sorted(sparse) != expected):
        raise UnreadableError("experts are in layers that follow no pattern known here")
    if first and every > 1:
        raise UnreadableError(f"experts in every {every}. layer after {first} dense ones follow no pattern known here")
    return first, every


def _quantization(whole: Fields) -> Quantization | None:
    """A model without experts of which attention was left alone counts as not quantised: an upper bound."""
    found = read_quantization(whole)
    if found is None:
        return None
    return replace(found, experts_only=True) if leaves_attention_alone(whole) else found


def _with_weights(facts: ModelFacts, whole: Fields, weight_bytes: int | None) -> ModelFacts:
    """vLLM loads 32-bit checkpoints in 16 bits, so their files count half."""
    if weight_bytes is None:
        return facts
    size = Fields({"weight bytes": weight_bytes}).count("weight bytes")
    wide = whole.content.get("torch_dtype", whole.content.get("dtype")) == "float32" and not facts.quantization
    size, formula = size // 2 if wide else size, stored_bytes(facts)
    if size * _SMALLEST_SHARE < formula:
        raise UnreadableError(f"weight files of {size:,} bytes are too small for this model of {formula:,}")
    return replace(facts, weight_bytes=size)
