"""What the children of a service are labelled and annotated with."""

from __future__ import annotations

from typing import Any

import pytest

from app.kube.manifest import Manifest
from tests.calls import stored
from tests.inferenceservice.service import AUTOSCALED, DISTRIBUTED, WORKLOADS, call, observed, spec, workload

EVERYTHING = spec(
    model={"name": "meta-llama/Llama-2-7b-chat-hf"},
    networking={"ingress": {"enabled": True, "host": "a.example"}},
    **AUTOSCALED,
)


def templates(child: Manifest) -> list[Manifest]:
    of = child["spec"]
    return [of["template"]] if "template" in of else [of["leaderWorkerTemplate"][f"{it}Template"] for it in ROLES]


ROLES = ("leader", "worker")


@pytest.mark.parametrize("given", [EVERYTHING, spec(model={"name": "meta-llama/Llama-2-7b-chat-hf"}, **DISTRIBUTED)])
def test_every_child_says_what_it_is_whose_and_of_which_model(given: dict[str, Any]) -> None:
    for child in call(given).children:
        labels = child["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "inference-operator"
        assert labels["app.kubernetes.io/managed-by"] == "inference-operator"
        assert labels["app.kubernetes.io/instance"] == "demo"
        assert labels["app.kubernetes.io/component"] == "inference"
        assert labels["inference.ai/model"] == "meta-llama--Llama-2-7b-chat-hf"
        assert child["metadata"]["annotations"]["inference.ai/model"] == "meta-llama/Llama-2-7b-chat-hf"
        assert child["metadata"]["namespace"] == "ns"


@pytest.mark.parametrize("kind", [{}, DISTRIBUTED])
def test_the_parents_labels_are_on_the_workload_itself_and_nowhere_else(kind: dict[str, Any]) -> None:
    """In a pod template they would restart every group when somebody relabels the service."""
    answer = call(spec(**kind), labels={"team": "a", "app.kubernetes.io/name": "theirs"})
    labelled = [child["kind"] for child in answer.children if child["metadata"]["labels"].get("team") == "a"]
    assert labelled == [kind for kind in WORKLOADS if kind in answer.kinds()]
    assert workload(answer)["metadata"]["labels"]["app.kubernetes.io/name"] == "inference-operator"
    assert [it["metadata"]["labels"].get("team") for it in templates(workload(answer))] == [None] * (2 if kind else 1)


def test_a_label_of_the_parent_follows_and_restarts_nothing() -> None:
    before = call(labels={"team": "a", "old": "x"})
    after = workload(call(labels={"team": "b"}, children=observed(before)))
    assert after["metadata"]["labels"]["team"] == "b"
    assert "old" not in after["metadata"]["labels"]
    assert after["spec"] == workload(before)["spec"]


def test_the_label_by_which_metacontroller_knows_children_is_never_the_parents() -> None:
    """A service that is itself a child of another controller has one of its own; taken over, it stops every sync."""
    labels = {"controller-uid": "of-the-parents-parent"}
    assert "controller-uid" not in workload(call(labels=labels))["metadata"]["labels"]


def test_the_label_by_which_metacontroller_knows_the_workload_is_kept() -> None:
    first = workload(call())
    first["metadata"]["labels"]["controller-uid"] = "mine"
    kept = workload(call(labels={"controller-uid": "of-the-parents-parent"}, children=[stored(first)]))
    assert kept["metadata"]["labels"]["controller-uid"] == "mine"


@pytest.mark.parametrize("kind", [{}, DISTRIBUTED])
def test_what_was_decided_stands_on_the_workload_and_not_in_its_pods(kind: dict[str, Any]) -> None:
    child = workload(call(spec(**kind)))
    assert {"inference.ai/spec-digest", "inference.ai/decision"} <= child["metadata"]["annotations"].keys()
    assert [it["metadata"].get("annotations") for it in templates(child)] == [None] * (2 if kind else 1)


@pytest.mark.parametrize(
    ("kind", "selected"),
    [
        pytest.param({}, {"inference.ai/role": "leader"}, id="Deployment"),
        pytest.param(DISTRIBUTED, {}, id="LeaderWorkerSet, whose groups end with any of their pods"),
    ],
)
def test_a_disruption_takes_one_group_at_a_time(kind: dict[str, Any], selected: dict[str, str]) -> None:
    answer = call(spec(**kind))
    selector = {"inference.ai/service": "demo"} | selected
    assert answer.child("PodDisruptionBudget")["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector},
    }
    for template in templates(workload(answer)):
        assert selector.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        pytest.param({}, {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo-leader"}, id="Deployment"),
        pytest.param(
            {"distributed": {"enabled": True, "size": 1}},
            {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "demo"},
            id="LeaderWorkerSet",
        ),
    ],
)
def test_the_autoscaler_scales_whole_groups(kind: dict[str, Any], target: dict[str, str]) -> None:
    scaling = {"enabled": True, "minReplicas": 2, "maxReplicas": 5, "targetUtilization": 60, "scaleDownDelay": "5m"}
    found = call(spec(**AUTOSCALED | {"autoscaling": scaling} | kind)).child("HorizontalPodAutoscaler")["spec"]
    assert found["scaleTargetRef"] == target
    assert (found["minReplicas"], found["maxReplicas"]) == (2, 5)
    assert found["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    [metric] = found["metrics"]
    assert metric == {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
    }


def test_without_autoscaling_there_is_no_autoscaler() -> None:
    assert "HorizontalPodAutoscaler" not in call().kinds()
