"""config.json of a model -> its facts, or a reason."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fit.hf_config.config import ARCHITECTURES, Unreadable, parse_config
from app.fit.memory.layers import count_parameters
from app.fit.model import ModelFacts, SlidingWindow, parse_facts, to_json
from tests.fit.configs import CONFIGS, LLAMA, read
from tests.fit.facts import model
from tests.fit.test_models import CATALOGUE


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_published_file_gives_the_facts_of_the_catalogue_for(name: str) -> None:
    known = model(name)
    assert read(json.loads(json.dumps(CONFIGS[name])), known.weight_bytes) == known


def test_the_parameters_that_follow_are_those_that_were_published() -> None:
    assert count_parameters(read(LLAMA)) == 8_030_261_248


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_known_class_is_read_from_plain_sizes(name: str) -> None:
    config = LLAMA | {"architectures": [name], "intermediate_size_mlp": 14336}
    assert read(config).architecture == name


# windows


@pytest.mark.parametrize(
    ("extra", "window"),
    [
        pytest.param({"sliding_window": 4096}, SlidingWindow(32, 4096), id="all layers slide"),
        pytest.param({"sliding_window": None}, None, id="no window"),
        pytest.param({"sliding_window": 262144}, None, id="as long as anything it reads"),
        pytest.param({"sliding_window": 4096, "use_sliding_window": False}, None, id="given and not used"),
        pytest.param(
            {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 28},
            SlidingWindow(4, 4096),
            id="the upper layers",
        ),
        pytest.param(
            {"sliding_window": 512, "layer_types": ["sliding_attention"] * 20 + ["full_attention"] * 12},
            SlidingWindow(20, 512),
            id="by a list of layers",
        ),
    ],
)
def test_layers_that_see_a_window(extra: dict[str, Any], window: SlidingWindow | None) -> None:
    assert read(LLAMA | extra).sliding == window


def test_gemma_2_slides_every_other_layer() -> None:
    config = LLAMA | {"architectures": ["Gemma2ForCausalLM"], "num_hidden_layers": 46, "sliding_window": 4096}
    assert read(config).sliding == SlidingWindow(23, 4096)


# what cannot be read


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"architectures": ["FancyForCausalLM"]}, "architecture FancyForCausalLM is not known here"),
        ({"architectures": None}, "config.json has no architectures"),
        ({"hidden_size": None}, "config.json has no hidden_size"),
        ({"num_hidden_layers": "32"}, "num_hidden_layers is '32', not a whole number"),
        ({"num_hidden_layers": 10**6}, "more than the 1024 of any model"),
        ({"vocab_size": -1}, "vocab_size is -1, not a whole number"),
        ({"num_key_value_heads": 64}, "contradict each other"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', not true or false"),
        ({"quantization_config": {"quant_method": "magic"}}, "quantisation method magic is not known here"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 3}}, "weights of 3 bits are not known here"),
        ({"sliding_window": 512, "layer_types": "sliding_attention"}, "layer_types is 'sliding_attention', not a list"),
        ({"num_experts": 8, "moe_intermediate_size": 64, "mlp_only_layers": [5]}, "are not the first layers"),
        ({"kv_lora_rank": 512}, "config.json has no qk_nope_head_dim"),
    ],
)
def test_what_cannot_be_read_is_said(changed: dict[str, Any], words: str) -> None:
    found = parse_config(LLAMA | changed)
    assert isinstance(found, Unreadable)
    assert words in found.reason


# families, lengths and files

PUBLISHED_LLAMA = CONFIGS["meta-llama/Llama-3.1-8B-Instruct"]


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
    assert count_parameters(read(config)) == parameters


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
    assert read(PUBLISHED_LLAMA | {"rope_scaling": scaling}).max_position == longest
    assert read(PUBLISHED_LLAMA | {"rope_scaling": None, "rope_parameters": scaling}).max_position == longest


@pytest.mark.parametrize(
    ("scaling", "longest"),
    [
        ({"rope_type": "longrope", "original_max_position_embeddings": 4096}, 131_072),
        ({"type": "su", "original_max_position_embeddings": 4096}, 131_072),
        ({"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32768}, 65_536),
        (None, 131_072),
    ],
)
def test_more_than_the_usual_length_may_be_asked_for_under_longrope(
    scaling: dict[str, Any] | None, longest: int
) -> None:
    assert read(PUBLISHED_LLAMA | {"rope_scaling": scaling}).longest == longest


@pytest.mark.parametrize(("named", "longest"), [(262_144, 262_144), (4096, 131_072), (None, 131_072)])
def test_a_length_that_a_key_of_its_own_names_may_be_asked_for(named: int | None, longest: int) -> None:
    facts = read(PUBLISHED_LLAMA | {"rope_scaling": None, "model_max_length": named})
    assert (facts.max_position, facts.longest) == (131_072, longest)


def test_the_size_of_the_weight_files_is_kept_and_32_bits_count_as_16() -> None:
    assert read(PUBLISHED_LLAMA, 16_060_522_496).weight_bytes == 16_060_522_496
    assert read(PUBLISHED_LLAMA | {"torch_dtype": "float32"}, 32_121_044_992).weight_bytes == 16_060_522_496


@pytest.mark.parametrize("size", [0, -1, 10**400, 1000])
def test_a_size_of_weight_files_that_cannot_be_is_refused(size: int) -> None:
    assert isinstance(parse_config(PUBLISHED_LLAMA, size), Unreadable)


def test_the_file_is_not_changed() -> None:
    before = deepcopy(CONFIGS)
    for config in CONFIGS.values():
        read(config)
    assert before == CONFIGS


# whatever stands in a file

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


@settings(max_examples=500, deadline=None)
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
