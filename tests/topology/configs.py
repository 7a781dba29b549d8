"""config.json as the makers of models publish it, written from the catalogue's facts: for each family its own keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.topology.models import Experts, ModelFacts

Config = dict[str, Any]


def publish(facts: ModelFacts) -> Config:
    """The config of a checkpoint with these facts."""
    family = next(family for prefix, family in _FAMILIES.items() if facts.architecture.startswith(prefix))
    quantized = _quantization(facts)
    return family(facts) | {"architectures": [facts.architecture]} | quantized


def _base(facts: ModelFacts) -> Config:
    """What nearly all have; "null" is written where a size is not given."""
    return {
        "hidden_size": facts.hidden_size,
        "intermediate_size": facts.intermediate_size,
        "num_hidden_layers": facts.layers,
        "num_attention_heads": facts.heads,
        "num_key_value_heads": facts.kv_heads,
        "vocab_size": facts.vocab_size,
        "max_position_embeddings": facts.max_position,
        "tie_word_embeddings": facts.tied_embeddings,
        "torch_dtype": "bfloat16",
    }


def _llama(facts: ModelFacts) -> Config:
    return _base(facts) | {"attention_bias": False, "mlp_bias": False, "head_dim": None}


def _mistral(facts: ModelFacts) -> Config:
    return _base(facts) | {"head_dim": facts.head_dim, "sliding_window": None}


def _mixtral(facts: ModelFacts) -> Config:
    assert facts.experts
    experts = {"num_local_experts": facts.experts.count, "num_experts_per_tok": 2}
    return _base(facts) | experts | {"intermediate_size": facts.experts.intermediate_size, "sliding_window": None}


def _qwen2(facts: ModelFacts) -> Config:
    """A window that is given and not used."""
    return _base(facts) | {"use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 70}


def _qwen3(facts: ModelFacts) -> Config:
    config = _base(facts) | {"head_dim": facts.head_dim, "attention_bias": False, "use_sliding_window": False}
    config |= {"sliding_window": None, "max_window_layers": facts.layers}
    return config | (_qwen_experts(facts.experts) if facts.experts else {})


def _qwen_experts(experts: Experts) -> Config:
    return {
        "num_experts": experts.count,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": experts.intermediate_size,
        "decoder_sparse_step": experts.every,
        "mlp_only_layers": [],
    }


def _qwen3_next(facts: ModelFacts) -> Config:
    assert facts.linear
    assert facts.experts
    linear = facts.linear
    return (
        _base(facts)
        | _qwen_experts(facts.experts)
        | {
            "head_dim": facts.head_dim,
            "full_attention_interval": 4,
            "linear_num_key_heads": linear.key_heads,
            "linear_num_value_heads": linear.value_heads,
            "linear_key_head_dim": linear.key_dim,
            "linear_value_head_dim": linear.value_dim,
            "linear_conv_kernel_dim": linear.conv_kernel,
            "shared_expert_intermediate_size": facts.experts.shared_size,
        }
    )


def _deepseek(facts: ModelFacts) -> Config:
    assert facts.latent
    assert facts.experts
    latent, experts = facts.latent, facts.experts
    return _base(facts) | {
        "kv_lora_rank": latent.kv_rank,
        "q_lora_rank": latent.query_rank,
        "qk_nope_head_dim": latent.nope_dim,
        "qk_rope_head_dim": latent.rope_dim,
        "v_head_dim": latent.value_dim,
        "n_routed_experts": experts.count,
        "n_shared_experts": experts.shared_size // experts.intermediate_size,
        "moe_intermediate_size": experts.intermediate_size,
        "moe_layer_freq": 1,
        "first_k_dense_replace": experts.first_dense,
        "topk_method": "noaux_tc",
        "num_nextn_predict_layers": facts.draft_layers,
    }


def _gemma3(facts: ModelFacts) -> Config:
    """What is the class's default is left out, as in the published ones."""
    assert facts.sliding
    text = {
        key: value
        for key, value in _base(facts).items()
        if key
        in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    }
    text |= {"sliding_window": facts.sliding.window, "head_dim": facts.head_dim, "model_type": "gemma3_text"}
    return {"text_config": text, "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27}}


def _gpt_oss(facts: ModelFacts) -> Config:
    assert facts.sliding
    assert facts.experts
    kinds = ["sliding_attention", "full_attention"] * (facts.layers // 2)
    return _base(facts) | {
        "head_dim": facts.head_dim,
        "attention_bias": True,
        "layer_types": kinds,
        "sliding_window": facts.sliding.window,
        "num_local_experts": facts.experts.count,
        "experts_per_token": 4,
    }


def _glm4_moe(facts: ModelFacts) -> Config:
    assert facts.experts
    experts = facts.experts
    return _base(facts) | {
        "attention_bias": facts.qkv_bias,
        "use_qk_norm": facts.qk_norm,
        "head_dim": facts.head_dim,
        "n_routed_experts": experts.count,
        "n_shared_experts": experts.shared_size // experts.intermediate_size,
        "moe_intermediate_size": experts.intermediate_size,
        "first_k_dense_replace": experts.first_dense,
        "num_nextn_predict_layers": facts.draft_layers,
    }


def _llama4(facts: ModelFacts) -> Config:
    assert facts.sliding
    assert facts.experts
    text = _base(facts) | {
        "head_dim": facts.head_dim,
        "intermediate_size": facts.experts.intermediate_size,
        "intermediate_size_mlp": facts.intermediate_size,
        "attention_chunk_size": facts.sliding.window,
        "no_rope_layers": [0 if (it + 1) % 4 == 0 else 1 for it in range(facts.layers)],
        "num_local_experts": facts.experts.count,
        "interleave_moe_layer_step": facts.experts.every,
    }
    return {"text_config": text, "vision_config": {"hidden_size": 1408}, "tie_word_embeddings": False}


def _quantization(facts: ModelFacts) -> Config:
    found = facts.quantization
    if found is None:
        return {}
    if found.format == "mxfp4":
        modules = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
        return {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": modules}}
    block = {"weight_block_size": list(found.block)}
    return {"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", **block}}


_FAMILIES: dict[str, Callable[[ModelFacts], Config]] = {
    "Llama4": _llama4,
    "Llama": _llama,
    "Phi3": _llama,
    "Mistral": _mistral,
    "Mixtral": _mixtral,
    "Qwen2": _qwen2,
    "Qwen3Next": _qwen3_next,
    "Qwen3": _qwen3,
    "Deepseek": _deepseek,
    "Gemma3": _gemma3,
    "GptOss": _gpt_oss,
    "Glm4Moe": _glm4_moe,
}
