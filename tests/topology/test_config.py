"""config.json: published files give the catalogue's facts; nonsense gives a reason, never an exception."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.topology.config import Unreadable, parse_config
from app.topology.config_families import FAMILIES
from app.topology.models import ModelFacts, Quantization, SlidingWindow, parse_facts, to_json
from app.topology.parameters import count_parameters
from tests.topology.configs import CONFIGS, FP8_BLOCKS
from tests.topology.facts import model
from tests.topology.test_models import CATALOGUE

LLAMA = CONFIGS["meta-llama/Llama-3.1-8B-Instruct"]
QWEN_MOE = CONFIGS["Qwen/Qwen3-30B-A3B"]
DEEPSEEK = CONFIGS["deepseek-ai/DeepSeek-V3"]
SCOUT = CONFIGS["meta-llama/Llama-4-Scout-17B-16E-Instruct"]


def facts(config: dict[str, Any], weight_bytes: int | None = None) -> ModelFacts:
    answer = parse_config(config, weight_bytes)
    assert isinstance(answer, ModelFacts), answer
    return answer


def reason(config: dict[str, Any], weight_bytes: int | None = None) -> str:
    answer = parse_config(config, weight_bytes)
    assert isinstance(answer, Unreadable), answer
    return answer.reason


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_published_file_gives_the_facts_of_the_catalogue_for(name: str) -> None:
    known = model(name)
    assert facts(json.loads(json.dumps(CONFIGS[name])), known.weight_bytes) == known


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        pytest.param(
            {
                "architectures": ["Gemma2ForCausalLM"],
                "num_hidden_layers": 42,
                "hidden_size": 3584,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "intermediate_size": 14336,
                "vocab_size": 256000,
                "sliding_window": 4096,
            },
            9_241_705_984,
            id="Gemma 2 9B",
        ),
        pytest.param(
            {
                "architectures": ["DeepseekV2ForCausalLM"],
                "num_hidden_layers": 27,
                "hidden_size": 2048,
                "num_attention_heads": 16,
                "num_key_value_heads": 16,
                "intermediate_size": 10944,
                "vocab_size": 102400,
                "kv_lora_rank": 512,
                "q_lora_rank": None,
                "qk_nope_head_dim": 128,
                "qk_rope_head_dim": 64,
                "v_head_dim": 128,
                "moe_intermediate_size": 1408,
                "n_routed_experts": 64,
                "n_shared_experts": 2,
                "first_k_dense_replace": 1,
                "topk_method": "greedy",
            },
            15_706_484_224,
            id="DeepSeek-V2-Lite",
        ),
        pytest.param(
            {
                "architectures": ["Qwen2MoeForCausalLM"],
                "num_hidden_layers": 24,
                "hidden_size": 2048,
                "num_attention_heads": 16,
                "num_key_value_heads": 16,
                "intermediate_size": 5632,
                "vocab_size": 151936,
                "moe_intermediate_size": 1408,
                "shared_expert_intermediate_size": 5632,
                "num_experts": 60,
            },
            14_315_784_192,
            id="Qwen1.5 MoE A2.7B",
        ),
    ],
)
def test_families_outside_the_catalogue_count_their_published_parameters(
    config: dict[str, Any], parameters: int
) -> None:
    assert count_parameters(facts(config)) == parameters


@pytest.mark.parametrize(
    ("changed", "window"),
    [
        pytest.param({"sliding_window": 4096}, SlidingWindow(32, 4096), id="Mistral 7B v0.1: every layer"),
        pytest.param({"sliding_window": None}, None, id="no window"),
        pytest.param(
            {
                "sliding_window": 8192,
                "layer_types": ["full_attention", *["sliding_attention"] * 3] * 8,
            },
            SlidingWindow(24, 8192),
            id="layers listed one by one",
        ),
    ],
)
def test_a_window_is_read(changed: dict[str, Any], window: SlidingWindow | None) -> None:
    assert facts(CONFIGS["mistralai/Mistral-7B-Instruct-v0.3"] | changed).sliding == window


def test_qwen_uses_its_window_only_where_it_says_so_and_after_the_first_layers() -> None:
    config = CONFIGS["Qwen/Qwen2.5-72B-Instruct"] | {"use_sliding_window": True, "max_window_layers": 70}
    assert facts(config).sliding == SlidingWindow(10, 131_072)


@pytest.mark.parametrize(
    ("scaling", "longest"),
    [
        pytest.param({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131_072, id="yarn"),
        pytest.param({"rope_type": "longrope", "original_max_position_embeddings": 4096}, 4096, id="longrope"),
        pytest.param({"rope_type": "dynamic", "factor": 2}, 262_144, id="dynamic"),
        pytest.param({"rope_type": "default"}, 131_072, id="default"),
        pytest.param(None, 131_072, id="none"),
    ],
)
def test_the_longest_sequence_follows_the_scaling(scaling: dict[str, Any] | None, longest: int) -> None:
    assert facts(LLAMA | {"rope_scaling": scaling}).max_position == longest
    assert facts(LLAMA | {"rope_scaling": None, "rope_parameters": scaling}).max_position == longest


@pytest.mark.parametrize(
    ("config", "written", "expected"),
    [
        pytest.param(QWEN_MOE, FP8_BLOCKS, Quantization("fp8", 8, (128, 128)), id="fp8 in blocks"),
        pytest.param(LLAMA, {"quant_method": "fp8"}, Quantization("fp8", 8), id="fp8, a scale a tensor"),
        pytest.param(
            LLAMA, {"quant_method": "gptq", "bits": 4, "group_size": 128}, Quantization("int4", 4, (128,)), id="gptq"
        ),
        pytest.param(
            LLAMA, {"quant_method": "gptq", "bits": 8, "group_size": -1}, Quantization("int8", 8), id="gptq by rows"
        ),
        pytest.param(
            LLAMA, {"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, Quantization("int4", 4, (64,)), id="awq"
        ),
        pytest.param(
            LLAMA,
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {
                        "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
                        "targets": ["Linear"],
                    }
                },
                "ignore": ["lm_head"],
            },
            Quantization("fp8", 8),
            id="compressed-tensors fp8",
        ),
        pytest.param(
            DEEPSEEK,
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
                "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
            },
            Quantization("int4", 4, (32,), experts_only=True),
            id="compressed-tensors int4 experts",
        ),
        pytest.param(
            LLAMA,
            {
                "quant_method": "quark",
                "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor", "group_size": None}},
                "exclude": ["lm_head"],
            },
            Quantization("fp8", 8),
            id="quark fp8",
        ),
        pytest.param(
            DEEPSEEK,
            {
                "quant_method": "quark",
                "global_quant_config": {"weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}},
                "exclude": ["lm_head", "model.layers.0.self_attn.kv_b_proj"],
            },
            Quantization("mxfp4", 4, (32,)),
            id="quark mxfp4",
        ),
        pytest.param(
            LLAMA,
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "a": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}},
                    "b": {"weights": {"num_bits": 8, "type": "float"}},
                },
            },
            Quantization("fp8", 8),
            id="the widest of two formats",
        ),
    ],
)
def test_quantisation_is_read(config: dict[str, Any], written: dict[str, Any], expected: Quantization) -> None:
    assert facts(config | {"quantization_config": written}).quantization == expected


def test_the_size_of_the_weight_files_is_kept_and_32_bits_count_as_16() -> None:
    assert facts(LLAMA, 16_060_522_496).weight_bytes == 16_060_522_496
    assert facts(LLAMA | {"torch_dtype": "float32"}, 32_121_044_992).weight_bytes == 16_060_522_496


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param({}, "architectures is missing", id="nothing"),
        pytest.param(LLAMA | {"architectures": ["NewForCausalLM"]}, "'NewForCausalLM' are not known", id="a new class"),
        pytest.param(LLAMA | {"architectures": "Llama"}, "architectures must be a list", id="a text for a list"),
        pytest.param(LLAMA | {"num_hidden_layers": -1}, "num_hidden_layers must be a whole number", id="negative"),
        pytest.param(LLAMA | {"num_hidden_layers": 10**6}, "1,000,000 is more than any model has", id="many layers"),
        pytest.param(LLAMA | {"hidden_size": 10**400}, "hidden_size must be a whole number of 1 or more", id="huge"),
        pytest.param(LLAMA | {"hidden_size": "4096"}, "not '4096'", id="a number as text"),
        pytest.param(LLAMA | {"vocab_size": True}, "vocab_size must be a whole number", id="true"),
        pytest.param(LLAMA | {"vocab_size": 1.5}, "vocab_size must be a whole number", id="a fraction"),
        pytest.param(LLAMA | {"vocab_size": None}, "vocab_size is missing", id="null"),
        pytest.param(LLAMA | {"hidden_size": 7}, "the sizes contradict each other", id="heads wider than all"),
        pytest.param(LLAMA | {"num_key_value_heads": 64}, "the sizes contradict each other", id="more keys than heads"),
        pytest.param(LLAMA | {"attention_bias": "no"}, "attention_bias must be true or false", id="no flag"),
        pytest.param(LLAMA | {"rope_scaling": {"type": "yarn", "factor": -1}}, "rope_scaling.factor must", id="factor"),
        pytest.param(LLAMA | {"rope_scaling": [1]}, "rope_scaling must be an object, not a list", id="no object"),
        pytest.param(
            SCOUT | {"text_config": SCOUT["text_config"] | {"num_local_experts": 0}},
            "text_config.num_local_experts must be",
            id="inside the text model",
        ),
        pytest.param(QWEN_MOE | {"mlp_only_layers": [3]}, "follow no pattern known here", id="experts anywhere"),
        pytest.param(
            CONFIGS["openai/gpt-oss-20b"] | {"layer_types": ["full_attention"]},
            "layer_types lists 1 layers, and num_hidden_layers is 24",
            id="too few layers listed",
        ),
        pytest.param(
            LLAMA | {"quantization_config": {"quant_method": "bitsandbytes"}},
            "quant_method 'bitsandbytes' is not known",
            id="a method vLLM lacks here",
        ),
        pytest.param(
            LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 3}},
            "weights of 3 bits are not known",
            id="odd bits",
        ),
    ],
)
def test_a_reason_is_given_for(config: dict[str, Any], words: str) -> None:
    assert words in reason(config)


@pytest.mark.parametrize("key", [key for key in LLAMA if key.startswith(("num_hidden", "num_att", "hidden", "inter"))])
def test_a_model_is_unreadable_without(key: str) -> None:
    assert reason({name: value for name, value in LLAMA.items() if name != key}) == f"{key} is missing"


@pytest.mark.parametrize("size", [0, -1, 10**400, 1000])
def test_a_size_of_weight_files_that_cannot_be_is_refused(size: int) -> None:
    assert "weight" in reason(LLAMA, size)


def test_the_file_is_not_changed() -> None:
    before = deepcopy(CONFIGS)
    for config in CONFIGS.values():
        facts(config)
    assert before == CONFIGS


QUANTIZATION_KEYS = [
    *("quant_method", "bits", "group_size", "weight_block_size", "config_groups", "weights", "num_bits", "type"),
    *("block_structure", "global_quant_config", "weight", "dtype", "layer_quant_config", "ignore", "exclude", "factor"),
]
KEYS = sorted({key for config in CONFIGS.values() for key in (*config, *config.get("text_config", {}))}) + (
    QUANTIZATION_KEYS
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(0, 200)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["full_attention", "fp8", "gptq", "awq", "quark", "compressed-tensors", "mxfp4", "yarn", "fp4"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)


@given(st.sampled_from(sorted(CONFIGS)), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), st.none() | JSON)
def test_whatever_a_file_says_there_are_facts_or_a_reason(name: str, changed: dict[str, Any], size: Any) -> None:
    config: dict[str, Any] = CONFIGS[name]
    inside = {"text_config": config["text_config"] | changed} if "text_config" in config else {}
    answer = parse_config(config | changed | inside, size)
    if isinstance(answer, ModelFacts):
        assert parse_facts(to_json(answer)) == answer
        assert count_parameters(answer) > 0
    else:
        assert answer.reason


@given(st.sampled_from(sorted(FAMILIES)), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_a_file_of_any_class_has_an_answer(architecture: str, content: dict[str, Any]) -> None:
    assert isinstance(parse_config(content | {"architectures": [architecture]}), ModelFacts | Unreadable)
