"""Which ModelCache a service uses, waits for, makes, and keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.fit import codec
from app.fit.catalog import find_model
from app.fit.model import Quantization
from app.kube.manifest import Manifest
from tests.calls import stored
from tests.inferenceservice.service import (
    cache,
    call,
    container,
    environment,
    observed,
    pod,
    spec,
    workload,
)

SOURCE = spec(model={"name": "org/tiny", "source": "huggingface://org/tiny"})
NAMED = spec(storage={"modelCache": "weights"})


def made(**status: Any) -> Manifest:
    """The ModelCache that was made for the source, with the model in it."""
    return stored(call(SOURCE).child("ModelCache"), cache("demo-model", **status)["status"])


def serving_its_source() -> list[Manifest]:
    """The children of a service that runs with the weights of its source."""
    answer = call(SOURCE, children=[made()])
    return [made(), *(child for child in observed(answer) if child["kind"] != "ModelCache")]


def test_a_service_without_cache_lets_vllm_fetch_the_model() -> None:
    answer = call()
    assert container(answer)["args"][0] == "--model=org/tiny"
    assert "INFERENCE_MODEL_PATH" not in environment(answer)
    assert [volume["name"] for volume in pod(answer)["volumes"]] == ["shared-memory", "cache", "tmp"]


def test_a_named_cache_is_mounted_and_its_folder_is_the_model() -> None:
    answer = call(NAMED, related=[cache()])
    assert container(answer)["args"][:2] == ["--model=/model-store/weights-1", "--served-model-name=org/tiny"]
    [volume] = [it for it in pod(answer)["volumes"] if it["name"] == "model-store"]
    assert volume["persistentVolumeClaim"]["claimName"] == "weights-cache"
    assert environment(answer)["INFERENCE_MODEL_PATH"] == "/model-store/weights-1"
    assert environment(answer)["HF_HUB_OFFLINE"] == "1"


def test_a_source_makes_a_cache_and_waits_for_it() -> None:
    answer = call(SOURCE)
    assert answer.child("ModelCache")["metadata"]["name"] == "demo-model"
    assert "Deployment" not in answer.kinds()
    assert "its ModelCache is being made" in answer.condition("Ready")["message"]


def test_weights_of_a_source_are_taken_from_its_cache() -> None:
    answer = call(SOURCE, children=[made()])
    assert container(answer)["args"][0] == "--model=/model-store/weights-1"


def test_a_cache_of_a_source_that_was_taken_out_is_not_used_any_more() -> None:
    """It is deleted in the same answer: pods built on its claim could never start again."""
    without = spec(model={"name": "org/other"})
    answer = call(without, children=serving_its_source())
    assert "ModelCache" not in answer.kinds()
    assert container(answer)["args"][0] == "--model=org/other"
    assert "model-store" not in [volume["name"] for volume in pod(answer)["volumes"]]


@pytest.mark.parametrize(
    "related",
    [
        pytest.param([], id="the next cache does not exist"),
        pytest.param([cache(ready=False)], id="the next cache is not filled"),
    ],
)
def test_pods_keep_the_cache_they_run_from_until_the_next_one_is_ready(related: list[Manifest]) -> None:
    answer = call(NAMED, children=serving_its_source(), related=related)
    assert workload(answer)["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == (
        "demo-model-cache"
    )
    assert answer.child("ModelCache")["metadata"]["name"] == "demo-model"


def test_the_cache_goes_once_the_next_one_is_used() -> None:
    answer = call(NAMED, children=serving_its_source(), related=[cache()])
    assert container(answer)["args"][0] == "--model=/model-store/weights-1"
    assert "ModelCache" not in answer.kinds()


OTHER = spec(model={"name": "org/tiny", "source": "huggingface://org/tiny@v2"})


def of_generation(generation: int, seen: int, **status: Any) -> Manifest:
    """The cache that was made for OTHER, with a status about an earlier generation of its spec."""
    cache_spec = call(OTHER).child("ModelCache")["spec"]
    before = made(observedGeneration=seen, **status)
    return before | {"spec": cache_spec, "metadata": before["metadata"] | {"generation": generation}}


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(made(), id="the cache is as it was made"),
        pytest.param(of_generation(2, seen=1), id="the cache has not seen its new source yet"),
    ],
)
def test_an_edited_source_waits_for_its_own_model_while_pods_go_on(there: Manifest) -> None:
    children = [there, *(child for child in serving_its_source() if child["kind"] != "ModelCache")]
    answer = call(OTHER, children=children)
    assert answer.child("ModelCache")["spec"]["source"]["huggingface"]["revision"] == "v2"
    assert workload(answer) == workload(call(SOURCE, children=serving_its_source()))
    assert "its spec has changed" in answer.condition("Ready")["message"]


def test_an_edited_source_is_served_once_its_model_is_there() -> None:
    there = of_generation(2, seen=2, path="weights-2")
    children = [there, *(child for child in serving_its_source() if child["kind"] != "ModelCache")]
    assert container(call(OTHER, children=children))["args"][0] == "--model=/model-store/weights-2"


def test_a_named_cache_whose_spec_was_edited_is_waited_for() -> None:
    edited = cache(observedGeneration=1)
    edited["metadata"]["generation"] = 2
    answer = call(NAMED, related=[edited])
    assert "Deployment" not in answer.kinds()
    assert answer.condition("Ready")["message"].startswith("waits for ModelCache weights, which is Pending: its spec")


def test_weights_that_are_quantised_already_are_not_quantised_again() -> None:
    facts = find_model("meta-llama/Llama-3.1-8B-Instruct")
    assert facts is not None
    given = spec(model={"name": "llama", "precision": "fp8"}, storage={"modelCache": "weights"})
    for known, flags in ((None, ["--quantization=fp8"]), (Quantization("fp8", 8), [])):
        weights = cache(model=codec.to_json(replace(facts, quantization=known)))
        arguments = container(call(given, related=[weights]))["args"]
        assert [it for it in arguments if it.startswith("--quantization")] == flags


def test_the_version_is_that_of_the_pods_that_run_whatever_the_cache_has_since() -> None:
    given = spec(storage={"modelCache": "weights"})
    old, new = cache(version="aaa"), cache(version="bbb", path="weights-2")
    pods = observed(call(given, related=[old]))
    answer = call(given, children=pods, related=[new])
    assert answer.status["modelStatus"]["version"] == "aaa"
    edited = given | {"vllm": {"engineArgs": {"max_num_seqs": 8}}}
    after = observed(call(edited, children=pods, related=[new]))
    assert call(edited, children=after, related=[new]).status["modelStatus"]["version"] == "bbb"


@pytest.mark.parametrize(
    ("seen", "version"),
    [
        pytest.param({"updatedReplicas": 1}, "aaa", id="half of the groups are new"),
        pytest.param({"observedGeneration": 1, "updatedReplicas": 2}, "aaa", id="the template is not read yet"),
        pytest.param({"updatedReplicas": 2}, "bbb", id="all are new"),
        pytest.param({"updatedReplicas": 1, "readyReplicas": 0}, "bbb", id="none of the old ones answers"),
    ],
)
def test_the_version_stays_until_a_rollout_is_over(seen: dict[str, int], version: str) -> None:
    given = spec(storage={"modelCache": "weights"}, replicas=2)
    related = [cache(version="bbb", path="weights-2")]
    pods = observed(call(given, related=related))
    for it in pods:
        if it["kind"] == "Deployment":
            it["metadata"]["generation"] = 2
            it["status"] |= {"observedGeneration": 2, "replicas": 2} | seen
    before = {"modelStatus": {"loaded": True, "version": "aaa"}}
    assert call(given, children=pods, related=related, status=before).status["modelStatus"]["version"] == version


def test_pods_of_an_operator_that_told_no_version_have_that_of_their_folder() -> None:
    given = spec(storage={"modelCache": "weights"})
    first = call(given, related=[cache(version="aaa")])
    del workload(first)["metadata"]["annotations"]["inference.ai/model-version"]
    pods = observed(first)
    assert call(given, children=pods, related=[cache(version="aaa")]).status["modelStatus"]["version"] == "aaa"
    newer = cache(version="bbb", path="weights-2")
    assert "version" not in call(given, children=pods, related=[newer]).status["modelStatus"]


def test_where_nothing_runs_no_version_is_told() -> None:
    given = spec(storage={"modelCache": "weights"})
    assert "version" not in call(given, related=[cache(ready=False, version="aaa")]).status["modelStatus"]
