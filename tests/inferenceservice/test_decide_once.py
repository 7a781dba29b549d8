"""Decide once per spec: a workload is answered as applied until the user edits what it depends on, or asks anew."""

from __future__ import annotations

from typing import Any

import pytest

from app.kube.manifest import LAST_APPLIED, Manifest
from app.settings import Settings
from tests.inferenceservice.service import (
    AUTOSCALED,
    DISTRIBUTED,
    cache,
    call,
    container,
    observed,
    running,
    spec,
    workload,
)

NEW = Settings(
    leader_image="leader:v2",
    worker_image="worker:v2",
    gpu_resource="example.com/gpu",
    node_selector={"a": "b"},
    drain="5s",
)
REPLAN = "inference.ai/replan"


def template(child: Manifest) -> Any:
    return {key: value for key, value in child["spec"].items() if key != "replicas"}


@pytest.mark.parametrize("kind", [pytest.param({}, id="Deployment"), pytest.param(DISTRIBUTED, id="LeaderWorkerSet")])
def test_other_settings_change_no_workload_that_runs(kind: dict[str, Any]) -> None:
    before = call(spec(**kind))
    assert workload(call(spec(**kind), children=observed(before), settings=NEW)) == workload(before)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"networking": {"ports": {"http": 80}}}, id="ports"),
        pytest.param({"networking": {"ingress": {"enabled": True, "host": "a.example"}}}, id="an ingress"),
        pytest.param({"monitoring": {"enabled": False}}, id="monitoring"),
        pytest.param({"replicas": 3}, id="replicas"),
        pytest.param({"autoscaling": {"enabled": False, "minReplicas": 2}}, id="autoscaling"),
        pytest.param({"storage": {"sharedMemory": "16Gi", "readOnly": True}}, id="a default written out"),
        pytest.param({"storage": {"sharedMemory": "16384Mi"}}, id="the same quantity"),
        pytest.param({"distributed": {"enabled": False}}, id="a switch that is off already"),
    ],
)
def test_an_unrelated_edit_restarts_nothing_even_under_other_settings(edit: dict[str, Any]) -> None:
    before = call()
    after = workload(call(spec(**edit), children=observed(before), settings=NEW))
    assert template(after) == template(workload(before))


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"model": {"name": "org/other"}}, id="the model"),
        pytest.param({"vllm": {"engineArgs": {"max_num_seqs": 8}}}, id="an argument"),
        pytest.param({"vllm": {"envVars": {"A": "b"}}}, id="a variable"),
        pytest.param({"resources": {"totalGpus": 2}}, id="the GPUs"),
        pytest.param({"storage": {"sharedMemory": "32Gi"}}, id="shared memory"),
    ],
)
def test_an_edit_of_what_pods_depend_on_is_decided_with_todays_settings(edit: dict[str, Any]) -> None:
    after = call(spec(**edit), children=running(), settings=NEW)
    assert container(after)["image"] == "leader:v2"


def test_an_edit_updates_the_workload_in_place() -> None:
    before, after = call(), call(spec(vllm={"engineArgs": {"max_num_seqs": 8}}), children=running())
    assert workload(after)["metadata"]["name"] == workload(before)["metadata"]["name"]
    assert "--max-num-seqs=8" in container(after)["args"]


def test_a_wrong_edit_keeps_every_child() -> None:
    wrong = spec(vllm={"engineArgs": {"max_num_seqs": "many"}}, networking={"ports": {"http": 80}})
    assert call(wrong, children=running()).children == call().children


def test_a_wrong_edit_that_is_mended_restarts_nothing() -> None:
    held = call(spec(vllm={"engineArgs": {"nnodes": 3}}), children=running())
    assert workload(call(children=observed(held), settings=NEW)) == workload(call())


def test_what_would_be_built_today_is_said_and_how_to_take_it() -> None:
    condition = call(children=running(), settings=NEW).condition("UpdateAvailable")
    assert (condition["status"], condition["reason"]) == ("True", "NewerDecision")
    assert f"setting the annotation {REPLAN} to a new value" in condition["message"]
    assert " more; it is taken" in condition["message"]


def test_the_annotation_takes_todays_decision_once() -> None:
    asked = call(children=running(), settings=NEW, annotations={REPLAN: "1"})
    assert container(asked)["image"] == "leader:v2"
    newer = Settings(leader_image="leader:v3")
    again = call(children=observed(asked), settings=newer, annotations={REPLAN: "1"})
    assert container(again)["image"] == "leader:v2"


@pytest.mark.parametrize("annotations", [{}, {REPLAN: ""}])
def test_removing_the_annotation_asks_for_nothing(annotations: dict[str, str]) -> None:
    asked = call(children=running(), settings=NEW, annotations={REPLAN: "1"})
    after = call(children=observed(asked), settings=Settings(), annotations=annotations)
    assert container(after)["image"] == "leader:v2"


def test_another_value_of_the_annotation_asks_again() -> None:
    asked = call(children=running(), settings=NEW, annotations={REPLAN: "1"})
    after = call(children=observed(asked), settings=Settings(), annotations={REPLAN: "2"})
    assert container(after)["image"] == "inference-leader:v0.1.0"


def test_a_replan_that_cannot_be_made_keeps_what_runs() -> None:
    given = spec(storage={"modelCache": "weights"})
    there = observed(call(given, related=[cache()]))
    answer = call(given, children=there, annotations={REPLAN: "1"})
    assert workload(answer) == workload(call(given, related=[cache()]))
    assert answer.conditions()["Ready"] == ("False", "ModelNotFound")


@pytest.mark.parametrize(
    "related",
    [
        pytest.param([], id="gone"),
        pytest.param([cache(ready=False)], id="not ready"),
        pytest.param([cache(path="weights-2")], id="elsewhere"),
    ],
)
def test_a_cache_that_flickers_touches_nothing_that_runs(related: list[Manifest]) -> None:
    given = spec(storage={"modelCache": "weights"})
    before = call(given, related=[cache()])
    answer = call(given, children=observed(before), related=related)
    assert answer.children == before.children
    assert answer.conditions()["Ready"] == ("True", "InferenceReady")


def test_a_decision_that_cannot_be_made_today_is_said() -> None:
    given = spec(storage={"modelCache": "weights"})
    condition = call(given, children=observed(call(given, related=[cache()]))).condition("UpdateAvailable")
    assert condition["status"] == "Unknown"
    assert "ModelCache weights does not exist" in condition["message"]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        pytest.param(spec(), spec(**DISTRIBUTED), "LeaderWorkerSet", id="to several nodes"),
        pytest.param(spec(**DISTRIBUTED), spec(), "Deployment", id="to one node"),
    ],
)
def test_another_kind_of_workload_replaces_the_old_one(
    before: dict[str, Any], after: dict[str, Any], kind: str
) -> None:
    assert workload(call(after, children=running(before)))["kind"] == kind


def test_the_old_kind_goes_on_until_the_new_one_can_be_made() -> None:
    waiting = spec(**DISTRIBUTED, storage={"modelCache": "weights"})
    answer = call(waiting, children=running())
    assert workload(answer) == workload(call())


def test_while_something_is_waited_for_the_autoscaler_goes_on_too() -> None:
    there = running(spec(**AUTOSCALED))
    answer = call(spec(**AUTOSCALED | {"storage": {"modelCache": "missing"}}), children=there)
    assert "HorizontalPodAutoscaler" in answer.kinds()


def test_without_the_annotation_of_what_was_applied_the_workload_stays_as_observed() -> None:
    """Server-side apply keeps none."""
    [child] = [it for it in running() if it["kind"] == "Deployment"]
    del child["metadata"]["annotations"][LAST_APPLIED]
    child["spec"]["revisionHistoryLimit"] = 10
    answer = workload(call(children=[child], settings=NEW))
    assert answer["spec"] | {"revisionHistoryLimit": 10} == child["spec"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"resources": {"totalGpus": 4}}, {"resources": {"gpu": {"count": 4}}}, id="GPU count"),
        pytest.param(
            {"resources": {"totalGpus": 4}, "distributed": {"enabled": True, "size": 4}},
            {"resources": {"totalGpus": 4}, "distributed": {"enabled": True, "leaderReplicas": 1, "workerReplicas": 3}},
            id="nodes of a group",
        ),
        pytest.param(
            {"resources": {"totalGpus": 1, "sharing": "exclusive"}},
            {"resources": {"totalGpus": 1, "gpu": {"strategy": "exclusive"}}},
            id="sharing",
        ),
        pytest.param(
            {"vllm": {"engineArgs": {"max_num_seqs": 8}}}, {"vllm": {"engineArgs": {"max-num-seqs": 8}}}, id="arguments"
        ),
    ],
)
def test_the_second_spelling_means_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = call(spec(**one)), call(spec(**other))
    assert template(workload(first)) == template(workload(second))
    assert first.status == second.status


def test_precision_length_and_temperature_reach_vllm() -> None:
    model = {"name": "org/m", "precision": "bf16", "maxTokens": 4096, "temperature": 0.5}
    assert container(call(spec(model=model)))["args"][4:] == [
        "--dtype=bfloat16",
        "--max-model-len=4096",
        '--override-generation-config={"temperature":0.5}',
    ]
