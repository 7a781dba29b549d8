"""What is told of a service whose model is in a ModelCache, and stops nothing."""

from __future__ import annotations

from typing import Any

import pytest

from app.kube.manifest import Manifest
from tests.inferenceservice.service import cache, call, observed, spec

CACHED = {"modelCache": "weights"}


def said(found: Manifest | None = None, storage: dict[str, Any] | None = None, **vllm: Any) -> str:
    """Ready's message of a service that serves."""
    given = spec(storage=CACHED | (storage or {}), vllm=vllm)
    related = [found or cache()]
    children = observed(call(given, related=related))
    return str(call(given, related=related, children=children).condition("Ready")["message"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"tokenizer": "org/tokenizer"}, "engineArgs.tokenizer: org/tokenizer"),
        ({"hf-config-path": "org/config"}, "org/config"),
        ({"speculative_config": {"model": "org/draft", "num_speculative_tokens": 2}}, "org/draft"),
        ({"speculative_config": '{"model": "org/draft", "num_speculative_tokens": 2}'}, "org/draft"),
        ({"enable_lora": True, "lora_modules": ["a=org/adapter"]}, "org/adapter"),
        ({"enable_lora": True, "lora_modules": {"a": "org/adapter"}}, "org/adapter"),
        ({"enable_lora": True, "lora_modules": [{"name": "a", "path": "org/adapter"}]}, "org/adapter"),
    ],
)
def test_a_repository_of_the_hub_beside_an_offline_cache_is_named(arguments: dict[str, Any], named: str) -> None:
    message = said(engineArgs=arguments)
    assert named in message
    assert "HF_HUB_OFFLINE" in message


@pytest.mark.parametrize(
    "vllm",
    [
        {"engineArgs": {"tokenizer": "/model-store/weights-1"}},
        {"engineArgs": {"generation_config": "vllm"}},
        {"engineArgs": {"tokenizer": "org/tokenizer"}, "envVars": {"HF_HUB_OFFLINE": "0"}},
        {"engineArgs": {"max_num_seqs": 4}},
    ],
    ids=["a folder", "a word", "pods that are online", "another argument"],
)
def test_nothing_else_is(vllm: dict[str, Any]) -> None:
    assert "HF_HUB_OFFLINE" not in said(**vllm)


def test_pods_without_a_cache_may_ask_the_hub() -> None:
    given = spec(vllm={"engineArgs": {"tokenizer": "org/tokenizer"}})
    answer = call(given, children=observed(call(given)))
    assert "HF_HUB_OFFLINE" not in answer.condition("Ready")["message"]


def test_a_volume_of_others_that_is_asked_for_writable_is_told() -> None:
    theirs = cache(claimName="theirs") | {"spec": {"modelName": "m", "existingClaim": "theirs"}}
    assert "storage.readOnly: false is ignored" in said(theirs, {"readOnly": False})
    assert "storage.readOnly" not in said(cache(), {"readOnly": False})
    assert "storage.readOnly" not in said(theirs)
