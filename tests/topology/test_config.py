"""config.json of a model -> its facts, or a reason."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.topology.config import ARCHITECTURES, Unreadable, parse_config
from app.topology.models import ModelFacts, Quantization, SlidingWindow, find_model
from app.topology.parameters import count_parameters
from tests.topology.configs import publish

CATALOGUE = sorted(json.loads(resources.files("app.topology").joinpath("models.json").read_text()))
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


def known(name: str) -> ModelFacts:
    found = find_model(name)
    assert found
    return found


def read(config: dict[str, Any], weight_bytes: int | None = None) -> ModelFacts:
    found = parse_config(config, weight_bytes)
    assert isinstance(found, ModelFacts), found
    return found


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_published_config_gives_the_facts_of_the_catalogue(name: str) -> None:
    facts = known(name)
    assert read(publish(facts), facts.weight_bytes) == facts


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
            Quantization("int4", 4, (32,), experts_only=True),
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
                "exclude": ["lm_head", "model.layers.0.self_attn.q_proj"],
                "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}},
            },
            Quantization("fp8", 8, (), experts_only=True),
        ),
    ],
)  # fmt: skip
def test_how_weights_are_quantised(given: dict[str, Any], wanted: Quantization) -> None:
    assert read(LLAMA | {"quantization_config": given}).quantization == wanted


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
        ({"num_experts": 8, "moe_intermediate_size": 64, "mlp_only_layers": [5]}, "are not the first layers"),
        ({"kv_lora_rank": 512}, "config.json has no qk_nope_head_dim"),
    ],
)
def test_what_cannot_be_read_is_said(changed: dict[str, Any], words: str) -> None:
    found = parse_config(LLAMA | changed)
    assert isinstance(found, Unreadable)
    assert words in found.reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted({key for name in CATALOGUE for key in publish(known(name))} | {"text_config", "layer_types"})


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(CATALOGUE), st.dictionaries(st.sampled_from(KEYS), json_values, max_size=4))
def test_whatever_stands_in_a_config_gives_facts_or_a_reason(name: str, changed: dict[str, Any]) -> None:
    found = parse_config(publish(known(name)) | changed)
    assert isinstance(found, ModelFacts) or found.reason
