"""quantization_config of a config.json: what is quantised and how, or a reason."""

from __future__ import annotations

from typing import Any

import pytest

from app.fit.hf_config.config import Unreadable, parse_config
from app.fit.model import Quantization
from tests.fit.configs import LLAMA, read

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
