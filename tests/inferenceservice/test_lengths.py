"""A length beyond the model's own is served with the model's own, and Ready says so with both numbers."""

from __future__ import annotations

from typing import Any

import pytest

from app.fit.catalog import find_model
from app.fit.model import to_json
from tests.calls import Answer
from tests.cli.questions import nodes, one, service
from tests.inferenceservice.service import cache, call, container, environment, observed, spec

OWN = 4096
LLAMA = to_json(find_model("Qwen/Qwen3-8B")) | {"maxPosition": OWN}  # type: ignore[arg-type]


def serve(**parts: Any) -> Answer:
    """A service whose ModelCache has read that its model takes 4,096 tokens, with its group ready."""
    given = spec(storage={"modelCache": "weights"}, **parts)
    related = [cache(model=LLAMA)]
    return call(given, related=related, children=observed(call(given, related=related)))


def length(answer: Answer) -> list[str]:
    return [it for it in container(answer)["args"] if it.startswith("--max-model-len")]


def arguments(**given: Any) -> dict[str, Any]:
    return {"engineArgs": given}


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        pytest.param({"vllm": arguments(max_model_len=8192)}, "vllm.engineArgs.max_model_len", id="the argument"),
        pytest.param({"vllm": {"engineArgs": {"--max-model-len": "8K"}}}, "vllm.engineArgs.--max-model-len", id="8K"),
        pytest.param({"model": {"name": "org/tiny", "maxTokens": 8192}}, "model.maxTokens", id="the simple field"),
        pytest.param(
            {"model": {"name": "org/tiny", "maxTokens": 4000}, "vllm": arguments(max_model_len=8192)},
            "vllm.engineArgs.max_model_len",
            id="the argument beside a field that would do",
        ),
        pytest.param(
            {"vllm": arguments(max_model_len=8192) | {"envVars": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "0"}}},
            "vllm.engineArgs.max_model_len",
            id="a switch that is off",
        ),
    ],
)
def test_the_models_own_length_is_served_and_both_numbers_are_said(parts: dict[str, Any], path: str) -> None:
    answer = serve(**parts)
    assert length(answer) == [f"--max-model-len={OWN}"]
    message = answer.condition("Ready")["message"]
    assert answer.conditions()["Ready"] == ("True", "InferenceReady")
    assert f"{path}: 8,192 tokens are more than the model's own 4,096" in message
    assert "hf_overrides" in message
    assert "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1" in message


@pytest.mark.parametrize(
    ("vllm", "served"),
    [
        pytest.param(arguments(max_model_len=4096), "4096", id="just as long"),
        pytest.param(arguments(max_model_len=2048), "2048", id="shorter"),
        pytest.param(arguments(max_model_len="auto"), "auto", id="as long as fits"),
        pytest.param(arguments(max_model_len=-1), "-1", id="the same as a number"),
    ],
)
def test_a_length_within_the_model_is_served_as_it_is(vllm: dict[str, Any], served: str) -> None:
    answer = serve(vllm=vllm)
    assert length(answer) == [f"--max-model-len={served}"]
    assert "more than the model's own" not in answer.condition("Ready")["message"]


YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": OWN}


@pytest.mark.parametrize(
    "extended",
    [
        pytest.param({"hf_overrides": {"rope_scaling": YARN}}, id="yarn"),
        pytest.param({"hf_overrides": {"rope_parameters": YARN}}, id="yarn by its newer name"),
        pytest.param({"hf_overrides": '{"rope_scaling": {"type": "linear", "factor": 2}}'}, id="linear, as a text"),
        pytest.param({"hf_overrides": {"max_position_embeddings": 8192}}, id="more positions"),
        pytest.param({"hf_overrides": {"text_config": {"rope_scaling": YARN}}}, id="of the language model"),
        pytest.param({"hf_overrides.max_position_embeddings": 8192}, id="as a single key"),
        pytest.param({"hf-overrides.rope_scaling": YARN}, id="as a single object"),
        pytest.param({"hf_config_path": "/model-store/other"}, id="another configuration"),
        pytest.param({"hf_overrides": {"rope_scaling": {"rope_type": "llama3", "factor": 2}}}, id="left to vLLM"),
    ],
)
def test_a_model_that_the_spec_extends_is_served_as_long_as_asked(extended: dict[str, Any]) -> None:
    answer = serve(vllm={"engineArgs": {"max_model_len": 8192} | extended})
    assert length(answer) == ["--max-model-len=8192"]
    assert "more than the model's own" not in answer.condition("Ready")["message"]


def test_an_extension_that_is_too_short_is_told_with_its_own_number() -> None:
    answer = serve(vllm=arguments(max_model_len=32768, hf_overrides={"rope_scaling": YARN}))
    assert length(answer) == ["--max-model-len=8192"]
    assert "32,768 tokens are more than the model's own 8,192" in answer.condition("Ready")["message"]


def test_an_override_that_has_nothing_to_do_with_positions_extends_nothing() -> None:
    answer = serve(vllm=arguments(max_model_len=8192, hf_overrides={"tie_word_embeddings": True}))
    assert length(answer) == [f"--max-model-len={OWN}"]


@pytest.mark.parametrize("switch", ["1", "true", " True "])
def test_vllms_own_override_is_honoured(switch: str) -> None:
    answer = serve(vllm=arguments(max_model_len=8192) | {"envVars": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": switch}})
    assert length(answer) == ["--max-model-len=8192"]
    assert environment(answer)["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] == switch


def test_where_nothing_is_known_of_the_model_nothing_changes() -> None:
    given = spec(vllm=arguments(max_model_len=8192))
    assert length(call(given)) == ["--max-model-len=8192"]


def test_what_is_not_served_needs_no_memory() -> None:
    """Ten million tokens fit nowhere; the model's own do, and this comes before the question whether they fit."""
    answer = one(service("Qwen/Qwen3-8B", 1, vllm=arguments(max_model_len=10_000_000)), nodes(1, "MI300X"))
    assert answer["outcome"] == "fit"
    assert answer["maxModelLen"] == 40960


@pytest.mark.parametrize("given", ["auto", -1])
def test_a_length_that_vllm_chooses_itself_leaves_nothing_to_be_said_of_the_simple_field(given: Any) -> None:
    answer = serve(model={"name": "org/tiny", "maxTokens": 8192}, vllm=arguments(max_model_len=given))
    assert length(answer) == [f"--max-model-len={given}"]
    assert "tokens are more" not in answer.condition("Ready")["message"]


@pytest.mark.parametrize(
    ("parts", "served", "is_cut"),
    [
        pytest.param({}, [], False, id="vLLM's own default"),
        pytest.param({"vllm": arguments(max_model_len=8192)}, ["--max-model-len=8192"], False, id="more than usual"),
        pytest.param(
            {"vllm": arguments(max_model_len=32768)}, ["--max-model-len=16384"], True, id="more than there is"
        ),
    ],
)
def test_a_length_beyond_the_usual_one_of_longrope_is_served(
    parts: dict[str, Any], served: list[str], is_cut: bool
) -> None:
    given = spec(storage={"modelCache": "weights"}, **parts)
    answer = call(given, related=[cache(model=LLAMA | {"positions": 16384})])
    assert length(answer) == served
    assert ("more than the model's own 16,384" in answer.condition("Ready")["message"]) is is_cut
