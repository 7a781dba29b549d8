"""model.source -> the ModelCache that fetches it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec, ModelSpec
from app.api.v1alpha1.modelcache import ModelCacheSpec
from app.contracts.sources import PREFIXES, SOURCE_PATTERN
from app.inferenceservice.fit_inputs import parse_engine
from app.settings import Settings
from tests.calls import stored
from tests.golden.schemas import problems
from tests.inferenceservice.service import call, container, spec


def cache_spec(uri: str, name: str = "org/tiny", **options: Any) -> dict[str, Any]:
    child = call(spec(model={"name": name, "source": uri}), **options).child("ModelCache")
    assert problems(child) == []
    found: dict[str, Any] = child["spec"]
    return found


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        pytest.param(
            "huggingface://meta-llama/Llama-2-7b-hf",
            {"type": "huggingface", "huggingface": {"repository": "meta-llama/Llama-2-7b-hf", "revision": "main"}},
            id="the Hub",
        ),
        pytest.param(
            "hf://Qwen/Qwen3-8B",
            {"type": "huggingface", "huggingface": {"repository": "Qwen/Qwen3-8B", "revision": "main"}},
            id="the Hub by its short name",
        ),
        pytest.param(
            "hf://Qwen/Qwen3-8B@v1/",
            {"type": "huggingface", "huggingface": {"repository": "Qwen/Qwen3-8B", "revision": "v1"}},
            id="and a revision",
        ),
        pytest.param(
            "huggingface://org/m@v1.0",
            {"type": "huggingface", "huggingface": {"repository": "org/m", "revision": "v1.0"}},
            id="a revision",
        ),
        pytest.param(
            "huggingface://org/m@refs/pr/1",
            {"type": "huggingface", "huggingface": {"repository": "org/m", "revision": "refs/pr/1"}},
            id="a revision with slashes",
        ),
        pytest.param(
            "huggingface://gpt2",
            {"type": "huggingface", "huggingface": {"repository": "gpt2", "revision": "main"}},
            id="a model without organisation",
        ),
        pytest.param(
            "huggingface://org/m/",
            {"type": "huggingface", "huggingface": {"repository": "org/m", "revision": "main"}},
            id="a slash at the end",
        ),
        pytest.param("s3://my-models/a/b/", {"type": "s3", "s3": {"bucket": "my-models", "key": "a/b/"}}, id="S3"),
        pytest.param("gs://my-models/a", {"type": "gcs", "gcs": {"bucket": "my-models", "prefix": "a"}}, id="GCS"),
        pytest.param("gs://my-models", {"type": "gcs", "gcs": {"bucket": "my-models"}}, id="a whole GCS bucket"),
        pytest.param(
            "https://a.example/m.tar.gz", {"type": "http", "http": {"url": "https://a.example/m.tar.gz"}}, id="https"
        ),
        pytest.param("http://a.example/m", {"type": "http", "http": {"url": "http://a.example/m"}}, id="http"),
        pytest.param(
            "https://huggingface.co/Qwen/Qwen3-8B",
            {"type": "huggingface", "huggingface": {"repository": "Qwen/Qwen3-8B", "revision": "main"}},
            id="the page of a repository",
        ),
        pytest.param(
            "https://hf.co/org/na.me-v1.2/tree/refs/pr/1?x=y",
            {"type": "huggingface", "huggingface": {"repository": "org/na.me-v1.2", "revision": "refs/pr/1"}},
            id="the page of a revision",
        ),
        pytest.param(
            "https://huggingface.co/org/m/resolve/main/model.safetensors",
            {"type": "http", "http": {"url": "https://huggingface.co/org/m/resolve/main/model.safetensors"}},
            id="a file of the Hub",
        ),
        pytest.param(
            "https://huggingface.co/datasets/org",
            {"type": "http", "http": {"url": "https://huggingface.co/datasets/org"}},
            id="another page of the Hub",
        ),
    ],
)
def test_a_source_becomes_what_the_cache_fetches(uri: str, source: dict[str, Any]) -> None:
    assert cache_spec(uri)["source"] == source


@pytest.mark.parametrize(
    "uri",
    [
        "org/m",
        "hf://",
        "hf:/org/m",
        "HF://org/m",
        "hf://a/b/c",
        "huggingface://",
        "huggingface://a/b/c",
        "huggingface:///m",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "s3://b/key",
        "gs://",
        "gs://b",
        "https://",
        "https://a b",
        "ftp://a.example/m",
    ],
)
def test_a_source_that_no_cache_could_fetch_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError):
        InferenceServiceSpec.model_validate(spec(model={"name": "m", "source": uri}))


def test_a_refused_source_names_the_prefixes_and_no_regular_expression() -> None:
    with pytest.raises(ValidationError) as caught:
        InferenceServiceSpec.model_validate(spec(model={"name": "m", "source": "org/m"}))
    [error] = caught.value.errors()
    for prefix in PREFIXES:
        assert prefix in error["msg"]
    assert "[A-Za-z" not in error["msg"]
    [rule] = [it for it in ModelSpec.rules if it.field_path == ".source"]
    assert rule.message in error["msg"]


sources = st.from_regex(SOURCE_PATTERN, fullmatch=True).filter(lambda uri: len(uri) <= 2048)


@given(sources)
@hypothesis_settings(max_examples=100)
def test_every_source_that_is_admitted_makes_a_cache_that_is_admitted(uri: str) -> None:
    ModelCacheSpec.model_validate(cache_spec(uri))


def test_the_longest_model_name_fits_the_cache() -> None:
    limit = TypeAdapter(ModelSpec).json_schema()["properties"]["name"]["maxLength"]
    ModelCacheSpec.model_validate(cache_spec("gs://my-models", name="m" * limit))


def test_size_and_class_of_the_cache_are_the_operators() -> None:
    settings = Settings(cache_size="1Ti", storage_class="fast")
    found = cache_spec("gs://my-models", settings=settings)
    assert (found["size"], found["storageClass"]) == ("1Ti", "fast")
    assert "storageClass" not in cache_spec("gs://my-models")


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(Settings(cache_size="1Ti"), id="a larger size"),
        pytest.param(Settings(cache_size="1Gi"), id="a smaller size"),
        pytest.param(Settings(storage_class="slow"), id="another class"),
        pytest.param(Settings(), id="no class"),
    ],
)
def test_other_settings_leave_a_cache_that_is_there_as_it_is(settings: Settings) -> None:
    given = spec(model={"name": "m", "source": "gs://my-models"})
    made = call(given, settings=Settings(cache_size="50Gi", storage_class="fast")).child("ModelCache")
    assert call(given, settings=settings, children=[stored(made)]).child("ModelCache") == made


def test_a_cache_that_somebody_grew_stays_grown() -> None:
    given = spec(model={"name": "m", "source": "gs://my-models"})
    grown = stored(call(given).child("ModelCache"), size="2Ti")
    assert call(given, children=[grown]).child("ModelCache")["spec"]["size"] == "2Ti"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Qwen/Qwen3-8B", ("--model=Qwen/Qwen3-8B",)),
        ("hf://Qwen/Qwen3-8B", ("--model=Qwen/Qwen3-8B",)),
        ("huggingface://Qwen/Qwen3-8B@v1", ("--model=Qwen/Qwen3-8B", "--revision=v1")),
        ("Qwen/Qwen3-8B@v1", ("--model=Qwen/Qwen3-8B", "--revision=v1")),
        ("https://huggingface.co/Qwen/Qwen3-8B/tree/v1", ("--model=Qwen/Qwen3-8B", "--revision=v1")),
    ],
)
def test_without_a_source_the_name_is_the_hubs_however_it_is_spelled(name: str, arguments: tuple[str, ...]) -> None:
    answer = call(spec(model={"name": name, "maxTokens": 131072}))
    given = container(answer)["args"]
    assert tuple(it for it in given if it.startswith(("--model=", "--revision="))) == arguments
    assert f"--served-model-name={name}" in given
    assert "the model's own 40,960" in answer.condition("Ready")["message"], "its facts are found"


@pytest.mark.parametrize("arguments", [{"q": "fp8"}, {"-q": "fp8"}, {"quantization": "fp8"}])
def test_short_names_of_arguments_are_read_as_the_long_ones(arguments: dict[str, Any]) -> None:
    given = InferenceServiceSpec.model_validate(spec(vllm={"engineArgs": arguments}))
    assert parse_engine(given).precision == "fp8"


def test_a_switch_that_is_negated_is_read_as_off() -> None:
    given = InferenceServiceSpec.model_validate(spec(vllm={"engineArgs": {"no-enable-expert-parallel": True}}))
    assert parse_engine(given).expert_parallel is False
