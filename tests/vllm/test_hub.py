"""What cannot be fetched or loaded is told before GPUs are taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from app.vllm.command import EngineSpec, build_command_line

STORE = "/model-store/weights-1"


def told(model: str = STORE, name: str = "model", env: dict[str, str] | None = None, **given: Any) -> list[str]:
    line = build_command_line(EngineSpec(model=model, served_name=name, engine_args=given, env=env or {}))
    return [f"{it.severity} {it.path}: {it.message}" for it in line.findings]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param({"tokenizer": "org/tokens"}, "org/tokens", id="a tokenizer"),
        pytest.param({"hf-config-path": "org/config"}, "org/config", id="a configuration"),
        pytest.param({"speculative_config": {"model": "org/draft"}}, "org/draft", id="draft"),
        pytest.param({"speculative_config": '{"model": "org/draft"}'}, "org/draft", id="a draft as JSON text"),
        pytest.param({"speculative_config.model": "org/draft"}, "org/draft", id="a draft as a key"),
        pytest.param({"lora_modules": ["a=org/lora"]}, "org/lora", id="an adapter"),
        pytest.param({"lora_modules": [{"name": "a", "path": "org/lora"}]}, "org/lora", id="an adapter as an object"),
        pytest.param({"lora_modules": {"a": "org/lora"}}, "org/lora", id="an adapter in a mapping"),
        pytest.param({"tokenizer": "hf://org/tokens"}, "hf://org/tokens", id="with a scheme"),
        pytest.param({"tokenizer": "org/tokens@main"}, "org/tokens@main", id="with a revision"),
        pytest.param({"tokenizer": "gpt2"}, "gpt2", id="without an organisation"),
    ],
)
def test_names_of_the_hub_are_refused_where_pods_are_offline(given: dict[str, Any], name: str) -> None:
    assert any(it.startswith("error") and f"{name} is a name of the Hub" in it for it in told(**given))
    assert told("org/model", **given) == []
    assert told(env={"HF_HUB_OFFLINE": "0"}, **given) == []


@pytest.mark.parametrize(
    "given",
    [
        {"tokenizer": "/model-store/weights-1"},
        {"tokenizer": "./tokens"},
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}},
        {"speculative_config": {"model": "/model-store/draft"}},
        {"lora_modules": [{"name": "a", "path": "/x/sql"}]},
        {"speculative_config": 3},
        {"lora_modules": []},
    ],
)
def test_paths_and_methods_are_no_names_of_the_hub(given: dict[str, Any]) -> None:
    assert not [it for it in told(**given) if "name of the Hub" in it]


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.3-70B-Instruct",
        "google/gemma-3-27b-it",
        "google/medgemma-4b-it",
        "google/embeddinggemma-300m",
        "mistralai/Codestral-22B",
        "CohereLabs/c4ai-command-a",
        "stabilityai/stable-diffusion-3-medium",
    ],
)
def test_a_gated_model_without_a_token_is_warned_of(name: str) -> None:
    [warning] = told(name, name)
    assert warning.startswith("warning model.name: the Hub gives")
    assert "pods have no token" in warning
    assert told(STORE, name) == []
    assert told(name, name, env={"HF_ENDPOINT": "https://mirror.example.com"}) == []


@pytest.mark.parametrize(
    "name",
    [
        "TheBloke/Llama-2-7B-GGUF",
        "org/llama-bnb-4bit",
        "org/x-exl2",
        "mlx/x-MLX-4bit",
        "OpenVINO/x",
        "org/x-GGML",
        "org/x-AQLM-2Bit",
    ],
)
def test_a_format_that_rocm_does_not_load_is_warned_of(name: str) -> None:
    assert "which vLLM does not load on AMD GPUs" in " ".join(told(STORE, name))


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "org/model-AWQ", "org/gguferson", "bnbx/model"])
def test_other_names_are_left_alone(name: str) -> None:
    assert told(STORE, name) == []


@pytest.mark.parametrize("load_format", ["gguf", "bitsandbytes"])
def test_a_load_format_that_rocm_lacks_is_refused(load_format: str) -> None:
    assert any(it.startswith("error") and "does not run on AMD GPUs" in it for it in told(load_format=load_format))
