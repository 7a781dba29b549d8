"""config.json as the models publish it: the fields that count, some that do not, and the habits of each family.

Left out where the catalogue does not know it either: max_position_embeddings of some models.
"""

from __future__ import annotations

from typing import Any

from app.fit.hf_config.config import parse_config
from app.fit.model import ModelFacts

FP8_BLOCKS = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128]}


def _sizes(
    layers: int, hidden: int, heads: int, kv_heads: int, width: int, vocabulary: int, longest: int | None
) -> dict[str, Any]:
    found = {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": width,
        "vocab_size": vocabulary,
        "torch_dtype": "bfloat16",
    }
    return found | ({"max_position_embeddings": longest} if longest else {})


def _llama(*sizes: Any) -> dict[str, Any]:
    llama3 = {"factor": 8.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}
    own = {"attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False, "rope_scaling": llama3}
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | _sizes(*sizes) | own


def _qwen2(*sizes: Any) -> dict[str, Any]:
    own = {"use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 28, "tie_word_embeddings": False}
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"} | _sizes(*sizes) | own


def _qwen3(*sizes: Any) -> dict[str, Any]:
    own = {"attention_bias": False, "head_dim": 128, "use_sliding_window": False, "sliding_window": None}
    return {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "rope_scaling": None} | _sizes(*sizes) | own


def _qwen3_moe(experts: int, width: int, *sizes: Any) -> dict[str, Any]:
    own = {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": width,
        "num_experts": experts,
        "num_experts_per_tok": 8,
    }
    return _qwen3(*sizes) | own


def _mistral(*sizes: Any, **own: Any) -> dict[str, Any]:
    base = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": None}
    return base | _sizes(*sizes) | own


def _mixtral(*sizes: Any) -> dict[str, Any]:
    own = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 8}
    return _mistral(*sizes) | own | {"num_experts_per_tok": 2}


def _deepseek(experts: int, first: int, drafts: int, factor: int, *sizes: Any) -> dict[str, Any]:
    own = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "attention_bias": False,
        "first_k_dense_replace": first,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "moe_intermediate_size": 2048,
        "moe_layer_freq": 1,
        "n_routed_experts": experts,
        "n_shared_experts": 1,
        "num_nextn_predict_layers": drafts,
        "topk_method": "noaux_tc",
        "rope_scaling": {"type": "yarn", "factor": factor, "original_max_position_embeddings": 4096},
        "quantization_config": FP8_BLOCKS,
    }
    return _sizes(*sizes) | own


def _gemma3(**text: Any) -> dict[str, Any]:
    """Its files leave out what the class has as default."""
    own = {"model_type": "gemma3_text", "sliding_window": 1024, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": own | text,
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16},
    }


def _gpt_oss(layers: int, experts: int) -> dict[str, Any]:
    kinds = ["sliding_attention", "full_attention"] * (layers // 2)
    own = {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "attention_bias": True,
        "head_dim": 64,
        "layer_types": kinds,
        "sliding_window": 128,
        "num_local_experts": experts,
        "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096},
        "tie_word_embeddings": False,
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
        },
    }
    return _sizes(layers, 2880, 64, 8, 2880, 201_088, 131_072) | own


def _llama4(experts: int, step: int) -> dict[str, Any]:
    text = _sizes(48, 5120, 40, 8, 8192, 202_048, None) | {
        "model_type": "llama4_text",
        "attention_chunk_size": 8192,
        "head_dim": 128,
        "interleave_moe_layer_step": step,
        "intermediate_size_mlp": 16384,
        "no_rope_layers": [],
        "num_local_experts": experts,
        "use_qk_norm": step == 1,
    }
    return {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4", "text_config": text}


def _glm(experts: int, width: int, first: int, norm: bool, *sizes: Any) -> dict[str, Any]:
    own = {
        "architectures": ["Glm4MoeForCausalLM"],
        "model_type": "glm4_moe",
        "attention_bias": True,
        "first_k_dense_replace": first,
        "head_dim": 128,
        "moe_intermediate_size": width,
        "n_routed_experts": experts,
        "n_shared_experts": 1,
        "num_nextn_predict_layers": 1,
        "use_qk_norm": norm,
        "tie_word_embeddings": False,
    }
    return _sizes(*sizes) | own


_LLAMA_70B = _llama(80, 8192, 64, 8, 28672, 128_256, 131_072)
_DEEPSEEK_V3 = _deepseek(256, 3, 1, 40, 61, 7168, 128, 128, 18432, 129_280, 163_840)
_QWEN_235B = (128, 1536, 94, 4096, 64, 4, 12288, 151_936)

CONFIGS: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-3.1-8B-Instruct": _llama(32, 4096, 32, 8, 14336, 128_256, 131_072),
    "meta-llama/Llama-3.1-70B-Instruct": _LLAMA_70B,
    "meta-llama/Llama-3.3-70B-Instruct": _LLAMA_70B,
    "meta-llama/Llama-3.1-405B-Instruct": _llama(126, 16384, 128, 8, 53248, 128_256, 131_072),
    "Qwen/Qwen2.5-7B-Instruct": _qwen2(28, 3584, 28, 4, 18944, 152_064, None),
    "Qwen/Qwen2.5-32B-Instruct": _qwen2(64, 5120, 40, 8, 27648, 152_064, None),
    "Qwen/Qwen2.5-72B-Instruct": _qwen2(80, 8192, 64, 8, 29568, 152_064, None),
    "Qwen/Qwen3-8B": _qwen3(36, 4096, 32, 8, 12288, 151_936, 40_960),
    "Qwen/Qwen3-14B": _qwen3(40, 5120, 40, 8, 17408, 151_936, 40_960),
    "Qwen/Qwen3-32B": _qwen3(64, 5120, 64, 8, 25600, 151_936, 40_960),
    "Qwen/Qwen3-30B-A3B": _qwen3_moe(128, 768, 48, 2048, 32, 4, 6144, 151_936, 40_960),
    "Qwen/Qwen3-235B-A22B": _qwen3_moe(*_QWEN_235B, 40_960),
    "Qwen/Qwen3-235B-A22B-Instruct-2507": _qwen3_moe(*_QWEN_235B, 262_144),
    "Qwen/Qwen3-Next-80B-A3B-Instruct": _sizes(48, 2048, 16, 2, 5632, 151_936, 262_144)
    | {
        "architectures": ["Qwen3NextForCausalLM"],
        "model_type": "qwen3_next",
        "decoder_sparse_step": 1,
        "full_attention_interval": 4,
        "head_dim": 256,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "mlp_only_layers": [],
        "moe_intermediate_size": 512,
        "num_experts": 512,
        "partial_rotary_factor": 0.25,
        "rope_scaling": None,
        "shared_expert_intermediate_size": 512,
        "tie_word_embeddings": False,
    },
    "mistralai/Mixtral-8x7B-Instruct-v0.1": _mixtral(32, 4096, 32, 8, 14336, 32_000, 32_768),
    "mistralai/Mixtral-8x22B-Instruct-v0.1": _mixtral(56, 6144, 48, 8, 16384, 32_768, 65_536),
    "mistralai/Mistral-Large-Instruct-2407": _mistral(88, 12288, 96, 8, 28672, 32_768, None),
    "mistralai/Mistral-7B-Instruct-v0.3": _mistral(32, 4096, 32, 8, 14336, 32_768, 32_768),
    "mistralai/Mistral-Small-24B-Base-2501": _mistral(40, 5120, 32, 8, 32768, 131_072, None, head_dim=128),
    "microsoft/phi-4": _sizes(40, 5120, 40, 10, 17920, 100_352, 16_384)
    | {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "sliding_window": None, "rope_scaling": None},
    "google/gemma-3-27b-it": _gemma3(
        hidden_size=5376,
        intermediate_size=21504,
        num_attention_heads=32,
        num_hidden_layers=62,
        num_key_value_heads=16,
        head_dim=128,
        query_pre_attn_scalar=168,
    ),
    "google/gemma-3-12b-it": _gemma3(
        hidden_size=3840, intermediate_size=15360, num_attention_heads=16, num_hidden_layers=48, num_key_value_heads=8
    ),
    "openai/gpt-oss-120b": _gpt_oss(36, 128),
    "openai/gpt-oss-20b": _gpt_oss(24, 32),
    "deepseek-ai/DeepSeek-V3": _DEEPSEEK_V3,
    "deepseek-ai/DeepSeek-R1": _DEEPSEEK_V3,
    "moonshotai/Kimi-K2-Instruct": _deepseek(384, 1, 0, 32, 61, 7168, 64, 64, 18432, 163_840, 131_072)
    | {"model_type": "kimi_k2"},
    "zai-org/GLM-4.5": _glm(160, 1536, 3, True, 92, 5120, 96, 8, 12288, 151_552, 131_072),
    "zai-org/GLM-4.5-Air": _glm(128, 1408, 1, False, 46, 4096, 96, 8, 10944, 151_552, 131_072),
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": _llama4(16, 1),
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": _llama4(128, 2),
}
"""By Hugging Face id: every model of the catalogue."""
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
"""A plain one."""


def read(config: dict[str, Any], weight_bytes: int | None = None) -> ModelFacts:
    """The facts in it, for there must be some."""
    found = parse_config(config, weight_bytes)
    assert isinstance(found, ModelFacts), found
    return found
