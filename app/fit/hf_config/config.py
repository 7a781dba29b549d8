"""A model's config.json, as Hugging Face's transformers writes it -> ModelFacts.

Only architectures whose layers are known here are read: what a class adds beside the sizes (biases, norms, gates) is in
its code, not in its config, so another class with the same keys may be larger. For those, and for numbers that make no
sense, the answer is a reason, never a guess.

Sources: transformers 5.23 (configuration_*.py: names and defaults), vLLM 0.33 (model files: which layers slide).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.fit.codec import LARGEST
from app.fit.hf_config.quantization import parse_quantization
from app.fit.hf_config.values import ConfigError, Values
from app.fit.memory.weights import stored_bytes
from app.fit.model import (
    MOST_LAYERS,
    Experts,
    LatentAttention,
    LinearAttention,
    ModelFacts,
    SlidingWindow,
    parse_facts,
    to_json,
)


@dataclass(frozen=True)
class Unreadable:
    """Why nothing can be said about a model."""

    reason: str


@dataclass(frozen=True)
class Traits:
    """What a class has beside what its config tells."""

    qkv_bias: bool = False
    qk_norm: bool = False
    norms: int = 2
    tied: bool = False
    """Whether embedding and head are one where the config is silent."""
    every_window: int = 0
    """Every how-manieth layer has full attention where the config gives a window and no list of layers."""
    defaults: tuple[tuple[str, int], ...] = ()
    """Sizes that published configs of the class leave out."""


_PLAIN, _QWEN2, _QWEN3 = Traits(), Traits(qkv_bias=True), Traits(qk_norm=True)
_GEMMA3 = Traits(
    qk_norm=True,
    norms=4,
    tied=True,
    every_window=6,
    defaults=(
        ("vocab_size", 262208),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 256),
        ("max_position_embeddings", 131072),
    ),
)
_LONG_ROPE = ("longrope", "su")
_SCALED = ("linear", "dynamic")
_SMALLEST_SHARE = 8
"""Weight files that are smaller than the formula's size by more than this are not those of the model."""
ARCHITECTURES: Mapping[str, Traits] = {
    "LlamaForCausalLM": _PLAIN,
    "MistralForCausalLM": _PLAIN,
    "Mistral3ForConditionalGeneration": _PLAIN,
    "MixtralForCausalLM": _PLAIN,
    "Phi3ForCausalLM": _PLAIN,
    "GraniteForCausalLM": _PLAIN,
    "Qwen2ForCausalLM": _QWEN2,
    "Qwen2MoeForCausalLM": _QWEN2,
    "Qwen2_5_VLForConditionalGeneration": _QWEN2,
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3MoeForCausalLM": _QWEN3,
    "Qwen3VLForConditionalGeneration": _QWEN3,
    "Qwen3VLMoeForConditionalGeneration": _QWEN3,
    "Qwen3NextForCausalLM": _QWEN3,
    "DeepseekV2ForCausalLM": _PLAIN,
    "DeepseekV3ForCausalLM": _PLAIN,
    "GemmaForCausalLM": Traits(tied=True),
    "Gemma2ForCausalLM": Traits(norms=4, tied=True, every_window=2, defaults=(("head_dim", 256),)),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": _GEMMA3,
    "GptOssForCausalLM": Traits(qkv_bias=True, every_window=2),
    "Glm4MoeForCausalLM": _PLAIN,
    "Llama4ForCausalLM": _PLAIN,
    "Llama4ForConditionalGeneration": _PLAIN,
}


def parse_config(config: Mapping[str, object], weight_bytes: int | None = None) -> ModelFacts | Unreadable:
    """The facts, with the bytes of all weight files where they are known; or why there are none."""
    try:
        facts = _parse(config, weight_bytes)
    except ConfigError as error:
        return Unreadable(str(error))
    if parse_facts(to_json(facts)) is None:
        return Unreadable("the sizes in config.json contradict each other, or are larger than any model's")
    return facts if facts.weight_bytes is None else with_weight_bytes(facts, facts.weight_bytes)


def with_weight_bytes(facts: ModelFacts, weight_bytes: int) -> ModelFacts | Unreadable:
    """The same model with the size of its weight files, unless it cannot be that of this model."""
    formula = stored_bytes(replace(facts, weight_bytes=None))
    if not formula <= weight_bytes * _SMALLEST_SHARE <= LARGEST * _SMALLEST_SHARE:
        return Unreadable(f"weight files of {weight_bytes:,} bytes are not those of a model that takes {formula:,}")
    return replace(facts, weight_bytes=weight_bytes)


def _parse(config: Mapping[str, object], weight_bytes: int | None) -> ModelFacts:
    architecture = Values(config).first("architectures")
    traits = ARCHITECTURES.get(architecture)
    if traits is None:
        raise ConfigError(f"architecture {architecture} is not known here, so its layers cannot be counted")
    values = Values(config).text_part(dict(traits.defaults))
    layers = values.count("num_hidden_layers")
    if layers > MOST_LAYERS:
        raise ConfigError(f"num_hidden_layers is {layers}, more than the {MOST_LAYERS} of any model")
    heads, hidden = values.count("num_attention_heads"), values.count("hidden_size")
    latent = _latent(values)
    is_oss, is_plain = architecture == "GptOssForCausalLM", architecture in ("LlamaForCausalLM", "GraniteForCausalLM")
    return ModelFacts(
        architecture=architecture,
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=values.count("num_key_value_heads", heads),
        intermediate_size=_dense_width(values, architecture),
        vocab_size=values.count("vocab_size"),
        head_dim=None if latent else values.count("head_dim", hidden // heads),
        max_position=_longest(values, architecture),
        positions=_positions(values, architecture),
        tied_embeddings=values.flag("tie_word_embeddings", traits.tied),
        qkv_bias=traits.qkv_bias or values.flag("attention_bias"),
        output_bias=is_oss or (is_plain and values.flag("attention_bias")),
        output_gate=architecture == "Qwen3NextForCausalLM",
        sinks=is_oss,
        qk_norm=traits.qk_norm or (values.flag("use_qk_norm") and not architecture.startswith("Llama4")),
        norms=traits.norms,
        latent=latent,
        sliding=_sliding(values, architecture, traits, layers),
        linear=_linear(values, layers),
        experts=_experts(values, architecture, layers),
        draft_layers=values.find_count("num_nextn_predict_layers") or 0,
        quantization=parse_quantization(
            values.checked_part("quantization_config") or values.checked_part("compression_config"), layers
        ),
        weight_bytes=_loaded_bytes(values, weight_bytes),
    )


def _loaded_bytes(values: Values, weight_bytes: int | None) -> int | None:
    """Files of 32-bit numbers count half: vLLM loads them in 16 bits."""
    wide = "float32" in (values.word("torch_dtype"), values.word("dtype"))
    return weight_bytes // 2 if wide and type(weight_bytes) is int else weight_bytes


def _longest(values: Values, architecture: str) -> int | None:
    """The model's own maximum as vLLM derives it from the scaling of positions; Gemma 3 and llama3 count it in."""
    own = values.find_count("max_position_embeddings")
    scaling = values.part("rope_scaling") or values.part("rope_parameters") or Values({})
    kind = scaling.word("rope_type") or scaling.word("type")
    original = scaling.find_count("original_max_position_embeddings") or values.find_count(
        "original_max_position_embeddings"
    )
    if own is None or (kind in _SCALED and architecture.startswith("Gemma3")):
        return own
    if kind in _LONG_ROPE:
        return original or own
    if kind == "yarn":
        return int((original or own) * scaling.factor("factor"))
    return int(own * scaling.factor("factor")) if kind in _SCALED else own


def _positions(values: Values, architecture: str) -> int | None:
    """What may be asked for beyond that: all positions under LongRoPE, and what a key of its own names."""
    scaling = values.part("rope_scaling") or values.part("rope_parameters") or Values({})
    is_long = (scaling.word("rope_type") or scaling.word("type")) in _LONG_ROPE
    own = (values.find_count("max_position_embeddings") or 0) if is_long else 0
    most, usual = max(own, values.find_count("model_max_length") or 0), _longest(values, architecture)
    return most if usual and most > usual else None


def _dense_width(values: Values, architecture: str) -> int:
    """Llama 4 calls the width of its experts intermediate_size."""
    key = "intermediate_size_mlp" if architecture.startswith("Llama4") else "intermediate_size"
    return values.count(key)


def _latent(values: Values) -> LatentAttention | None:
    if values.find_count("kv_lora_rank") is None:
        return None
    return LatentAttention(
        kv_rank=values.count("kv_lora_rank"),
        nope_dim=values.count("qk_nope_head_dim"),
        rope_dim=values.count("qk_rope_head_dim"),
        value_dim=values.count("v_head_dim"),
        query_rank=values.find_count("q_lora_rank"),
    )


def _linear(values: Values, layers: int) -> LinearAttention | None:
    if values.find_count("linear_num_key_heads") is None:
        return None
    kinds = values.names("layer_types")
    full = layers // values.count("full_attention_interval", 4)
    return LinearAttention(
        layers=kinds.count("linear_attention") if kinds else layers - full,
        key_heads=values.count("linear_num_key_heads"),
        value_heads=values.count("linear_num_value_heads"),
        key_dim=values.count("linear_key_head_dim"),
        value_dim=values.count("linear_value_head_dim"),
        conv_kernel=values.count("linear_conv_kernel_dim"),
    )


def _sliding(values: Values, architecture: str, traits: Traits, layers: int) -> SlidingWindow | None:
    """Layers that see a window only; one as long as the model's longest sequence is none."""
    window = values.find_count("attention_chunk_size" if architecture.startswith("Llama4") else "sliding_window")
    longest = values.find_count("max_position_embeddings")
    if window is None or not values.flag("use_sliding_window", True) or (longest and window >= longest):
        return None
    count = _sliding_layers(values, traits, layers)
    return SlidingWindow(count, window) if count else None


def _sliding_layers(values: Values, traits: Traits, layers: int) -> int:
    kinds = values.names("layer_types")
    if kinds:
        return kinds.count("sliding_attention") + kinds.count("chunked_attention")
    rope = values.numbers("no_rope_layers")
    if rope:
        return sum(rope)
    if values.find_count("no_rope_layer_interval") or values.find_count("attention_chunk_size"):
        return layers - layers // values.count("no_rope_layer_interval", 4)
    if traits.every_window:
        return layers - layers // values.count("sliding_window_pattern", traits.every_window)
    return layers - min(layers, values.find_count("max_window_layers") or 0)


_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")


def _experts(values: Values, architecture: str, layers: int) -> Experts | None:
    count = next((found for key in _EXPERT_COUNTS if (found := values.find_count(key))), None)
    if count is None or count == 1:
        return None
    width = values.find_count("moe_intermediate_size") or values.count("intermediate_size")
    is_oss, is_llama4 = architecture == "GptOssForCausalLM", architecture.startswith("Llama4")
    shared = values.find_count("shared_expert_intermediate_size") or 0
    return Experts(
        count=count,
        intermediate_size=width,
        shared_size=width if is_llama4 else shared or width * (values.find_count("n_shared_experts") or 0),
        first_dense=_first_dense(values, layers),
        every=values.count("interleave_moe_layer_step", values.count("decoder_sparse_step", 1)),
        bias=is_oss,
        router_bias=is_oss or architecture == "Glm4MoeForCausalLM" or values.word("topk_method") == "noaux_tc",
        shared_gate=shared > 0,
    )


def _first_dense(values: Values, layers: int) -> int:
    dense = sorted(values.numbers("mlp_only_layers"))
    if dense != list(range(len(dense))):
        raise ConfigError(f"mlp_only_layers {dense} are not the first layers: such a model cannot be counted")
    return min(layers, values.find_count("first_k_dense_replace") or len(dense))
