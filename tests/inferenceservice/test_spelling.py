"""What counts as an edit, and what a service takes over when its workload changes kind."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.contracts.sources import SOURCE_PATTERN
from app.inferenceservice.observe import WorkloadKind, WorkloadState
from app.inferenceservice.plan import plan_replicas, spec_digest


def spec(**parts: Any) -> InferenceServiceSpec:
    base: dict[str, Any] = {"model": {"name": "org/m"}, "resources": {"totalGpus": 4}}
    return InferenceServiceSpec.model_validate(base | parts)


def group(**fields: Any) -> dict[str, Any]:
    return {"enabled": True, **fields}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(spec(), spec(resources={"gpu": {"count": 4}}), id="the number of GPUs"),
        pytest.param(
            spec(resources={"totalGpus": 4, "sharing": "exclusive"}),
            spec(resources={"gpu": {"count": 4, "strategy": "exclusive"}}),
            id="sharing",
        ),
        pytest.param(
            spec(distributed=group(size=4)),
            spec(distributed=group(leaderReplicas=1, workerReplicas=3)),
            id="the size of a group",
        ),
        pytest.param(spec(), spec(distributed={"enabled": False}), id="a default written out"),
    ],
)
def test_respelling_is_no_edit(first: InferenceServiceSpec, second: InferenceServiceSpec) -> None:
    assert spec_digest(first) == spec_digest(second)


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param(spec(resources={"totalGpus": 8}), id="more GPUs"),
        pytest.param(spec(resources={"totalGpus": 4, "sharing": "exclusive"}), id="exclusive"),
        pytest.param(spec(distributed=group(size=2)), id="more nodes"),
        pytest.param(spec(vllm={"engineArgs": {"max_num_seqs": 8}}), id="an engine argument"),
    ],
)
def test_another_meaning_is_an_edit(edited: InferenceServiceSpec) -> None:
    assert spec_digest(edited) != spec_digest(spec())


def running(groups: int) -> WorkloadState:
    applied = {"spec": {"replicas": groups}}
    return WorkloadState(WorkloadKind.DEPLOYMENT, 1, applied, groups, groups, groups, "")


def test_a_workload_of_another_kind_takes_over_the_number_of_groups() -> None:
    assert plan_replicas(spec(distributed=group(size=2)), None, running(3)) == 3


def test_a_number_in_the_spec_wins_over_what_ran() -> None:
    assert plan_replicas(spec(replicas=2), None, running(3)) == 2


@pytest.mark.parametrize(
    ("source", "admitted"),
    [
        pytest.param("hf://org/model@v1", True, id="the short name of the Hub"),
        pytest.param("huggingface://org/model", True, id="a repository"),
        pytest.param("huggingface://org/model@v1.0", True, id="a revision"),
        pytest.param("huggingface://a/b/c", False, id="three names"),
        pytest.param("s3://my-models/llama/", True, id="a key"),
        pytest.param("s3://my-models", False, id="a bucket without a key"),
        pytest.param("gs://my-models", True, id="a whole bucket of gcs"),
        pytest.param("http://files.example/model.safetensors", True, id="a file"),
        pytest.param("ftp://files.example/model", False, id="an unknown scheme"),
    ],
)
def test_sources_that_no_cache_would_take_are_refused(source: str, admitted: bool) -> None:
    assert bool(re.match(SOURCE_PATTERN, source)) == admitted
