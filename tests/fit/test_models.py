"""Facts of models: read leniently, never smaller than they are, and counted to the last parameter."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from app.fit.catalog import find_model
from app.fit.memory.layers import Attention, count_parameters, draft_parts, layer_kinds
from app.fit.memory.weights import stored_bytes
from app.fit.model import parse_facts, to_json
from tests.fit.facts import model

CATALOGUE: dict[str, dict[str, Any]] = json.loads(resources.files("app.fit").joinpath("models.json").read_text())
PARAMETERS = {
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.1-70B-Instruct": 70_553_706_496,
    "meta-llama/Llama-3.3-70B-Instruct": 70_553_706_496,
    "meta-llama/Llama-3.1-405B-Instruct": 405_853_388_800,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "Qwen/Qwen2.5-72B-Instruct": 72_706_203_648,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "Qwen/Qwen3-235B-A22B-Instruct-2507": 235_093_634_560,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46_702_792_704,
    "mistralai/Mixtral-8x22B-Instruct-v0.1": 140_630_071_296,
    "mistralai/Mistral-Large-Instruct-2407": 122_610_069_504,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "mistralai/Mistral-Small-24B-Base-2501": 23_572_403_200,
    "microsoft/phi-4": 14_659_507_200,
    "google/gemma-3-27b-it": 27_009_346_304,
    "google/gemma-3-12b-it": 11_766_034_176,
    "openai/gpt-oss-120b": 116_829_156_672,
    "openai/gpt-oss-20b": 20_914_757_184,
    "deepseek-ai/DeepSeek-V3": 671_026_419_200,
    "deepseek-ai/DeepSeek-R1": 671_026_419_200,
    "moonshotai/Kimi-K2-Instruct": 1_026_408_232_448,
    "zai-org/GLM-4.5": 352_797_829_024,
    "zai-org/GLM-4.5-Air": 106_852_251_264,
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": 107_769_861_120,
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": 400_711_848_960,
    "Qwen/Qwen3-Next-80B-A3B-Instruct": 79_674_391_296,
}
"""Of the language model, without draft layers: the published totals where those are known to the digit."""

SMALL: dict[str, object] = {
    "architecture": "LlamaForCausalLM",
    "layers": 4,
    "hiddenSize": 1024,
    "heads": 8,
    "kvHeads": 2,
    "intermediateSize": 4096,
    "vocabSize": 32000,
}


def test_every_model_of_the_catalogue_is_counted() -> None:
    assert set(PARAMETERS) == set(CATALOGUE)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of(name: str) -> None:
    assert count_parameters(model(name)) == PARAMETERS[name]


@pytest.mark.parametrize(
    ("name", "count"),
    [("deepseek-ai/DeepSeek-V3", 13_463_426_304), ("zai-org/GLM-4.5", 5_539_962_272)],
)
def test_a_draft_layer_is_stored_in(name: str, count: int) -> None:
    assert sum(part.count for part in draft_parts(model(name))) == count


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param("meta-llama/Llama-3.1-8B-Instruct", 16_060_522_496, id="16 bits"),
        pytest.param("openai/gpt-oss-120b", 65_248_815_744, id="MXFP4 experts"),
        pytest.param("openai/gpt-oss-20b", 13_761_264_768, id="MXFP4 experts, fewer"),
        pytest.param("google/gemma-3-27b-it", 54_018_692_608, id="tied embeddings"),
    ],
)
def test_weight_files_take_exactly(name: str, size: int) -> None:
    assert stored_bytes(model(name)) == size


def test_weight_files_in_fp8_blocks_take_what_the_repository_shows() -> None:
    deepseek = model("deepseek-ai/DeepSeek-V3")
    assert stored_bytes(deepseek) == pytest.approx(deepseek.weight_bytes, rel=1e-4)


@pytest.mark.parametrize("name", CATALOGUE)
def test_facts_survive_the_way_to_json_and_back(name: str) -> None:
    facts = model(name)
    written = to_json(facts)
    assert parse_facts(json.loads(json.dumps(written))) == facts
    assert written == CATALOGUE[name]


def test_an_id_is_found_exactly_or_not_at_all() -> None:
    assert find_model("META-LLAMA/llama-3.1-8b-INSTRUCT") == find_model("meta-llama/Llama-3.1-8B-Instruct")
    assert find_model("meta-llama/Llama-3.1-8B") is None
    assert find_model("Llama-3.1-8B-Instruct") is None


def test_optional_parts_may_be_missing_null_or_unheard_of() -> None:
    facts = parse_facts(SMALL | {"experts": None, "maxPosition": None, "somethingNew": [1]})
    assert facts == parse_facts(SMALL)
    assert facts is not None
    assert facts.head_size == 128
    assert facts.experts is None


@pytest.mark.parametrize("key", SMALL)
def test_a_model_is_unknown_without(key: str) -> None:
    assert parse_facts({name: value for name, value in SMALL.items() if name != key}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"layers": 0}, id="no layers"),
        pytest.param({"layers": "4"}, id="a number as text"),
        pytest.param({"layers": True}, id="true is no number"),
        pytest.param({"layers": 1025}, id="more layers than any model has"),
        pytest.param({"maxPosition": 2**53 + 1}, id="a number that JSON's readers do not agree on"),
        pytest.param(
            {"experts": {"count": 8, "intermediateSize": 64, "firstDense": 5}}, id="more dense layers than all"
        ),
        pytest.param({"weightBytes": -1}, id="files of negative size"),
        pytest.param({"experts": {"count": 8}}, id="experts without a width"),
        pytest.param({"experts": [8, 4096]}, id="experts that are no object"),
        pytest.param({"quantization": {"format": "fp8", "bits": 8, "block": 128}}, id="a block that is no list"),
        pytest.param({"sliding": {"layers": 5, "window": 128}}, id="more sliding layers than layers"),
        pytest.param({"kvHeads": 16}, id="more key-value heads than heads"),
        pytest.param({"heads": 2048}, id="heads without width"),
    ],
)
def test_what_is_there_and_wrong_makes_the_model_unknown(wrong: dict[str, object]) -> None:
    assert parse_facts(SMALL | wrong) is None


@pytest.mark.parametrize(
    ("name", "first", "count"),
    [
        pytest.param("openai/gpt-oss-20b", [1, 3, 5], 12, id="every second"),
        pytest.param("meta-llama/Llama-4-Scout-17B-16E-Instruct", [3, 7, 11], 12, id="every fourth"),
        pytest.param("Qwen/Qwen3-Next-80B-A3B-Instruct", [3, 7, 11], 12, id="every fourth, others linear"),
        pytest.param("microsoft/phi-4", [0, 1, 2], 40, id="all"),
    ],
)
def test_full_attention_is_in(name: str, first: list[int], count: int) -> None:
    full = [index for index, kind in enumerate(layer_kinds(model(name))) if kind.attention is Attention.FULL]
    assert full[:3] == first
    assert len(full) == count


def test_experts_start_after_the_dense_layers_and_come_every_so_often() -> None:
    deepseek = [kind.experts for kind in layer_kinds(model("deepseek-ai/DeepSeek-V3"))]
    maverick = [kind.experts for kind in layer_kinds(model("meta-llama/Llama-4-Maverick-17B-128E-Instruct"))]
    assert deepseek == [False] * 3 + [True] * 58
    assert maverick == [False, True] * 24


def test_an_architecture_without_stages_is_known_by_its_class() -> None:
    assert model("google/gemma-3-27b-it").supports_pipeline
    without = parse_facts(SMALL | {"architecture": "Gemma3nForConditionalGeneration"})
    assert without is not None
    assert not without.supports_pipeline
