"""engineArgs.quantization -> in which format the weights of a listed model count, or that nothing is known of them."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.fit.catalog import find_model
from app.fit.memory.precision import Precision
from app.fit.model import ModelFacts, Quantization, to_json
from app.inferenceservice.fit_inputs import as_served, parse_engine
from tests.cli.questions import Json, nodes, one, service
from tests.fit.configs import CONFIGS
from tests.inferenceservice.service import cache, call, container, spec

LLAMA_8B, LLAMA_405B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-405B-Instruct"
FP8 = ("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel")
UNTOLD = ("quark", "compressed-tensors", "online", "torchao", "inc", "modelopt", "deepseek_v4_fp8")


def listed(name: str) -> ModelFacts:
    found = find_model(name)
    assert found is not None
    return found


def parsed(method: Any) -> InferenceServiceSpec:
    return InferenceServiceSpec.model_validate(spec(vllm={"engineArgs": {"quantization": method}}))


def plan(method: str, name: str = LLAMA_405B, gpus: int = 4, on: list[Json] | None = None, **more: Any) -> Json:
    arguments = {"tensor_parallel_size": gpus, "quantization": method}
    return one(service(name, gpus, vllm={"engineArgs": arguments}), on, **more)


@pytest.mark.parametrize("method", FP8)
def test_every_way_to_make_fp8_while_loading_halves_the_weights(method: str) -> None:
    assert parse_engine(parsed(method)).precision is Precision.FP8
    answer = plan(method)
    assert (answer["outcome"], answer["memory"]["weightsBytes"]) == ("fit", plan("fp8")["memory"]["weightsBytes"])


@pytest.mark.parametrize("method", [*FP8, "fbgemm_fp8"])
def test_every_way_to_fp8_needs_fp8_units(method: str) -> None:
    answer = plan(method, LLAMA_8B, 1, nodes(1, "MI250X"))
    assert answer["outcome"] == "impossible"
    assert "has no FP8 units" in " ".join(answer["reasons"])


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("auto_awq", Quantization("int4", 4, (128,))),
        ("auto_gptq", Quantization("int4", 4, (128,))),
        ("mxfp8", Quantization("mxfp8", 8, (32,))),
        ("gpt_oss_mxfp4", Quantization("mxfp4", 4, (32,), experts_only=True)),
        ("fbgemm_fp8", Quantization("fp8", 8)),
    ],
)
def test_a_method_of_one_format_tells_how_weights_are_stored(method: str, wanted: Quantization) -> None:
    served = as_served(listed(LLAMA_8B), parsed(method))
    assert served is not None
    assert served.quantization == wanted


@pytest.mark.parametrize("method", ["auto_awq", "auto_gptq", "mxfp8"])
def test_a_quantised_model_fits_where_16_bits_would_not(method: str) -> None:
    assert plan(method)["outcome"] == "fit"


@pytest.mark.parametrize("method", UNTOLD)
def test_a_method_of_several_formats_leaves_the_model_unknown(method: str) -> None:
    answer = plan(method)
    assert (answer["outcome"], answer["memory"]) == ("unknown", None)
    words = f"nothing is known of model {LLAMA_405B} with quantization {method}: whether it fits the GPUs was not"
    assert any(words in reason for reason in answer["reasons"])


def test_a_config_tells_the_format_that_the_method_does_not() -> None:
    weights = {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}
    quantised = {"quant_method": "quark", "global_quant_config": {"weight": weights}}
    told = plan("quark", modelConfig=CONFIGS[LLAMA_405B] | {"quantization_config": quantised})
    assert (told["outcome"], told["memory"]["weightsBytes"] < 60 * 10**9) == ("fit", True)


def test_files_of_16_bits_do_not_tell_what_is_made_of_them() -> None:
    plain = plan("online", modelConfig=CONFIGS[LLAMA_405B])
    assert (plain["outcome"], plain["memory"]) == ("unknown", None)
    weights = cache(model=to_json(listed(LLAMA_405B)))
    given = spec(storage={"modelCache": "weights"}, vllm={"engineArgs": {"quantization": "online"}})
    assert "--quantization=online" in container(call(given, related=[weights]))["args"]


def test_what_the_catalogue_says_of_quantisation_goes_first() -> None:
    stored = listed("deepseek-ai/DeepSeek-V3")
    assert as_served(stored, parsed("compressed-tensors")) == stored


@pytest.mark.parametrize("nothing", [None, "None", "", 8, ["fp8"], True])
def test_what_is_no_method_changes_nothing(nothing: Any) -> None:
    assert as_served(listed(LLAMA_8B), parsed(nothing)) == listed(LLAMA_8B)
    assert parse_engine(parsed(nothing)).precision is None
