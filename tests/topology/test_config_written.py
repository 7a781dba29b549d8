"""config.json as published, written by hand: it gives the catalogue's facts; nonsense beside it gives a reason."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.topology.config import ARCHITECTURES, Unreadable, parse_config
from app.topology.models import ModelFacts, parse_facts, to_json
from app.topology.parameters import count_parameters
from tests.topology.configs_written import CONFIGS
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


def test_the_size_of_the_weight_files_is_kept_and_32_bits_count_as_16() -> None:
    assert facts(LLAMA, 16_060_522_496).weight_bytes == 16_060_522_496
    assert facts(LLAMA | {"torch_dtype": "float32"}, 32_121_044_992).weight_bytes == 16_060_522_496


@pytest.mark.parametrize("size", [0, -1, 10**400, 1000])
def test_a_size_of_weight_files_that_cannot_be_is_refused(size: int) -> None:
    assert isinstance(parse_config(LLAMA, size), Unreadable)


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


@given(st.sampled_from(sorted(ARCHITECTURES)), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_a_file_of_any_class_has_an_answer(architecture: str, content: dict[str, Any]) -> None:
    assert isinstance(parse_config(content | {"architectures": [architecture]}), ModelFacts | Unreadable)
