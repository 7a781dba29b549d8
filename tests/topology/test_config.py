"""config.json of a model -> its facts, or a reason."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.topology.config import ARCHITECTURES, Unreadable, parse_config
from app.topology.models import ModelFacts, Quantization, SlidingWindow, parse_facts, to_json
from app.topology.parameters import count_parameters
from tests.topology.configs import CONFIGS
from tests.topology.facts import model
from tests.topology.test_models import CATALOGUE

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


def read(config: dict[str, Any], weight_bytes: int | None = None) -> ModelFacts:
    found = parse_config(config, weight_bytes)
    assert isinstance(found, ModelFacts), found
    return found


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


# quantisation

COMPRESSED = {"quant_method": "compressed-tensors", "ignore": ["lm_head"]}


def group(**weights: Any) -> dict[str, Any]:
    return COMPRESSED | {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


BLOCKS = group(num_bits=8, type="float", strategy="block", block_structure=[128, 128])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, Quantization("fp8", 8, (128, 128))),
        ({"quant_method": "fp8", "activation_scheme": "static"}, Quantization("fp8", 8)),
        ({"quant_method": "fbgemm_fp8", "modules_to_not_convert": []}, Quantization("fp8", 8)),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, Quantization("int4", 4, (128,))),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, Quantization("int8", 8)),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, Quantization("int4", 4, (64,))),
        (group(num_bits=8, type="float", strategy="channel"), Quantization("fp8", 8)),
        (BLOCKS, Quantization("fp8", 8, (128, 128))),
        (group(num_bits=4, type="int", strategy="group", group_size=32), Quantization("int4", 4, (32,))),
        (group(num_bits=8, type="int", strategy="channel"), Quantization("int8", 8)),
        (
            group(num_bits=4, type="int", strategy="group", group_size=32) | {"ignore": ["re:.*self_attn.*"]},
            Quantization("int4", 4, (32,), plain_attention=True),
        ),
        (
            {
                "quant_method": "quark",
                "exclude": ["lm_head"],
                "global_quant_config": {"weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}},
            },
            Quantization("mxfp4", 4, (32,)),
        ),
        (
            {
                "quant_method": "quark",
                "exclude": ["lm_head", *(f"model.layers.{layer}.self_attn.q_proj" for layer in range(32))],
                "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}},
            },
            Quantization("fp8", 8, (), plain_attention=True),
        ),
    ],
)  # fmt: skip
def test_how_weights_are_quantised(given: dict[str, Any], wanted: Quantization) -> None:
    assert read(LLAMA | {"quantization_config": given}).quantization == wanted


ATTENTION, BESIDE_EXPERTS = {"plain_attention": True}, {"experts_only": True}


@pytest.mark.parametrize(
    ("ignored", "spared"),
    [
        pytest.param(["lm_head", "model.visual.blocks.0.attn.qkv", "model.visual.blocks.1.attn.qkv"], {}, id="a tower"),
        pytest.param(["vision_tower.transformer.layers.0.attention.q_proj"], {}, id="a vision tower with layers"),
        pytest.param(["re:.*visual.*", "re:audio_tower.*self_attn"], {}, id="towers by pattern"),
        pytest.param(["re:.*(visual|self_attn).*"], ATTENTION, id="a tower and attention in one pattern"),
        pytest.param(["model.layers.31.self_attn.q_proj"], {}, id="one layer"),
        pytest.param([r"re:model\.layers\.31\.self_attn.*"], {}, id="one layer by pattern"),
        pytest.param([f"model.layers.{it}.self_attn.qkv_proj" for it in range(1, 32)], ATTENTION, id="all but one"),
        pytest.param([f"model.layers.{it}.self_attn" for it in range(32, 99)], {}, id="layers the model has not"),
        pytest.param(["model.layers.*.self_attn"], ATTENTION, id="all layers"),
        pytest.param([r"re:.*layers\.\d+\.self_attn.*"], ATTENTION, id="all layers by number"),
        pytest.param(["re:.*self_attn.*", "re:.*shared_experts.*"], BESIDE_EXPERTS, id="shared experts too"),
        pytest.param(["re:.*self_attn.*", "re:.*shared_expert_gate$"], ATTENTION, id="the gate of a shared expert"),
        pytest.param(["re:.*shared_experts.*"], {}, id="shared experts alone"),
        pytest.param([f"model.layers.{'9' * 5000}.self_attn"], ATTENTION, id="a number of very many digits"),
    ],
)
def test_attention_is_left_as_it_is_where_names_mean_the_layers_of_the_text(
    ignored: list[str], spared: dict[str, bool]
) -> None:
    given = group(num_bits=4, type="int", strategy="group", group_size=128) | {"ignore": ignored}
    assert read(LLAMA | {"quantization_config": given}).quantization == Quantization("int4", 4, (128,), **spared)


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


QUARK = {"quant_method": "quark", "exclude": ["lm_head"]}
FP4 = {"weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}}
FP8 = {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param("fp8", "quantization_config is 'fp8', not a mapping", id="a text"),
        pytest.param(
            {"quant_method": "fp8", "weight_block_size": "128"},
            "weight_block_size is '128', not a list",
            id="a block as text",
        ),
        pytest.param(
            {"quant_method": "fp8", "weight_block_size": [128]}, "is [128], not rows and columns", id="half a block"
        ),
        pytest.param(
            group(num_bits=8, type="float", strategy="block", block_structure="128x128"),
            "block_structure is '128x128', not a list",
            id="a block of a group as text",
        ),
        pytest.param(COMPRESSED, "has no config_groups", id="no groups"),
        pytest.param(
            COMPRESSED | {"config_groups": [{}]}, "config_groups is [{}], not a mapping", id="a list of groups"
        ),
        pytest.param(
            COMPRESSED | {"config_groups": {"W8A8": ["Linear"]}},
            "W8A8 is ['Linear'], not a mapping",
            id="a group by the name of its scheme",
        ),
        pytest.param(
            COMPRESSED | {"config_groups": {"group_0": {"weights": "int4"}}},
            "weights is 'int4', not a mapping",
            id="weights as text",
        ),
        pytest.param(group(num_bits=8) | {"ignore": "lm_head"}, "ignore is 'lm_head', not a list", id="a name as text"),
        pytest.param(QUARK, "has no global_quant_config", id="Quark without settings"),
        pytest.param(
            QUARK | {"layer_quant_config": {"*self_attn*": FP8}},
            "has no global_quant_config",
            id="Quark with settings of some layers",
        ),
        pytest.param(
            QUARK | {"global_quant_config": {"weight": [FP8["weight"], {"dtype": "int4"}]}},
            "not a mapping",
            id="Quark in two stages",
        ),
        pytest.param(
            QUARK | {"global_quant_config": FP4, "layer_quant_config": {"*self_attn*": FP8}},
            "groups of several formats",
            id="Quark with layers of another format",
        ),
        pytest.param(
            QUARK | {"global_quant_config": {"weight": None}, "layer_quant_config": {"*mlp*": FP8}},
            "quantises some layers only",
            id="Quark with layers that are quantised and layers that are not",
        ),
    ],
)
def test_a_way_of_quantising_that_is_not_understood_is_never_counted_as_16_bits(given: Any, words: str) -> None:
    found = parse_config(LLAMA | {"quantization_config": given})
    assert isinstance(found, Unreadable), found
    assert words in found.reason


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(COMPRESSED | {"config_groups": {}, "kv_cache_scheme": {"num_bits": 8}}, id="the cache alone"),
        pytest.param(
            COMPRESSED | {"config_groups": {"group_0": {"weights": None, "input_activations": {"num_bits": 8}}}},
            id="activations alone",
        ),
        pytest.param(QUARK | {"global_quant_config": {"weight": None}, "layer_quant_config": {}}, id="Quark, nothing"),
    ],
)
def test_what_says_that_no_weights_are_quantised_is_believed(given: dict[str, Any]) -> None:
    assert read(LLAMA | {"quantization_config": given}).quantization is None


def test_quark_may_repeat_the_format_for_layers_whose_keys_and_values_are_cached_in_8_bits() -> None:
    given = QUARK | {"global_quant_config": FP8, "layer_quant_config": {"*k_proj": FP8, "*v_proj": FP8}}
    assert read(LLAMA | {"quantization_config": given}).quantization == Quantization("fp8", 8)


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
