"""What config.json does not say, for the model's class says it: biases, norms, experts and layers of each family.

Where a field is missing, the default is that of the class, as far as published files rely on it (Gemma 3's do). Source:
transformers 5.23 (configuration and modelling of these classes); totals of parameters equal the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Family:
    """Classes with the same layers."""

    qkv_bias: bool | None = False
    """None = as `attention_bias` says."""
    output_bias: bool | None = False
    output_gate: bool = False
    qk_norm: bool | None = False
    """None = as `use_qk_norm` says."""
    sinks: bool = False
    norms: int = 2
    latent: bool = False
    linear: bool = False
    experts: str = ""
    """The field with the number of experts, "" = a dense model."""
    expert_width: str = "moe_intermediate_size"
    dense_width: str = "intermediate_size"
    expert_bias: bool = False
    router_bias: bool | None = False
    """None = where `topk_method` is noaux_tc."""
    shared: str = ""
    """The field with the width of shared experts; n_shared_experts = their number, each as wide as a routed one."""
    shared_gate: bool = False
    every: str = ""
    """The field that says that each so-many-th layer has experts."""
    full_every: int = 0
    """Each so-many-th layer attends to everything; 0 = a window is for all layers."""
    window: str = "sliding_window"
    optional_window: bool = False
    """Whether the window counts only where `use_sliding_window` is true, and from layer `max_window_layers` on."""
    defaults: tuple[tuple[str, int | bool], ...] = ()
    """Fields that published files leave out, with the value of the class."""


_LLAMA = Family(qkv_bias=None, output_bias=None)
_MISTRAL = Family()
_QWEN3 = Family(qkv_bias=None, output_bias=None, qk_norm=True, optional_window=True, defaults=(("head_dim", 128),))
_DEEPSEEK = Family(
    latent=True, experts="n_routed_experts", shared="n_shared_experts", router_bias=None, every="moe_layer_freq"
)
_GEMMA3 = Family(
    qk_norm=True,
    norms=4,
    full_every=6,
    defaults=(
        ("head_dim", 256),
        ("vocab_size", 262_208),
        ("max_position_embeddings", 131_072),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("tie_word_embeddings", True),
    ),
)
_LLAMA4 = Family(
    qkv_bias=None,
    output_bias=None,
    experts="num_local_experts",
    expert_width="intermediate_size",
    dense_width="intermediate_size_mlp",
    shared="intermediate_size",
    every="interleave_moe_layer_step",
    full_every=4,
    window="attention_chunk_size",
    defaults=(("attention_chunk_size", 8192),),
)
_QWEN3_MOE = Family(
    qkv_bias=None,
    output_bias=None,
    qk_norm=True,
    experts="num_experts",
    every="decoder_sparse_step",
    optional_window=True,
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "LlamaForCausalLM": _LLAMA,
        "GraniteForCausalLM": _LLAMA,
        "MistralForCausalLM": _MISTRAL,
        "Mistral3ForConditionalGeneration": _MISTRAL,
        "MixtralForCausalLM": Family(experts="num_local_experts", expert_width="intermediate_size"),
        "Phi3ForCausalLM": _MISTRAL,
        "Qwen2ForCausalLM": Family(qkv_bias=True, optional_window=True),
        "Qwen2MoeForCausalLM": Family(
            qkv_bias=True,
            experts="num_experts",
            shared="shared_expert_intermediate_size",
            shared_gate=True,
            every="decoder_sparse_step",
            optional_window=True,
        ),
        "Qwen3ForCausalLM": _QWEN3,
        "Qwen3MoeForCausalLM": _QWEN3_MOE,
        "Qwen3NextForCausalLM": Family(
            qk_norm=True,
            output_gate=True,
            linear=True,
            experts="num_experts",
            shared="shared_expert_intermediate_size",
            shared_gate=True,
            every="decoder_sparse_step",
            full_every=4,
            defaults=(("head_dim", 256),),
        ),
        "DeepseekV2ForCausalLM": _DEEPSEEK,
        "DeepseekV3ForCausalLM": _DEEPSEEK,
        "Gemma2ForCausalLM": Family(norms=4, full_every=2, defaults=(("head_dim", 256), ("tie_word_embeddings", True))),
        "Gemma3ForCausalLM": _GEMMA3,
        "Gemma3ForConditionalGeneration": _GEMMA3,
        "GptOssForCausalLM": Family(
            qkv_bias=True,
            output_bias=True,
            sinks=True,
            experts="num_local_experts",
            expert_width="intermediate_size",
            expert_bias=True,
            router_bias=True,
            full_every=2,
            defaults=(("head_dim", 64),),
        ),
        "Llama4ForCausalLM": _LLAMA4,
        "Llama4ForConditionalGeneration": _LLAMA4,
        "Glm4MoeForCausalLM": Family(
            qkv_bias=None,
            qk_norm=None,
            experts="n_routed_experts",
            shared="n_shared_experts",
            router_bias=True,
        ),
    }
)
