"""GPUNodes tell who holds how many GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from app.agent.gpu_usage import plan_nodes
from app.agent.snapshot import parse_pod
from tests.agent.build import GPU, Json, container, gpu_node, owner, pod, request, single, snapshot

IDLE = {"observed": True, "used": 0, "services": [], "others": []}


def statuses(**objects: Any) -> dict[str, Json]:
    """What is written, by node."""
    return {patch.key[1]: patch.body["status"] for patch in plan_nodes(snapshot(**objects))}


def test_services_and_others_are_counted_apart() -> None:
    pods = [single("a", node="n1"), single("b", node="n1", gpus=1), pod("foreign", node="n1", gpus=3)]
    assert statuses(pods=pods, gpu_nodes=[gpu_node("n1")], requests=[request()]) == {
        "n1": {
            "observed": True,
            "used": 6,
            "services": [{"namespace": "team", "name": "llama", "gpus": 3, "resource": GPU}],
            "others": [{"gpus": 3, "resource": GPU}],
        }
    }


def test_a_label_without_a_request_beside_it_makes_no_service() -> None:
    found = statuses(pods=[single("a", node="n1")], gpu_nodes=[gpu_node("n1")], requests=[request("another")])
    assert found["n1"]["others"] == [{"gpus": 2, "resource": GPU}]


@pytest.mark.parametrize(
    "owners",
    [
        pytest.param([], id="nobody"),
        pytest.param([owner("ReplicaSet", "llama-leader-evil")], id="a ReplicaSet of another name"),
        pytest.param([owner("ReplicaSet", "llama")], id="a ReplicaSet of the service's own name"),
        pytest.param([owner("StatefulSet", "llama-7")], id="a StatefulSet of another group"),
        pytest.param([owner("Job", "llama-leader-abc")], id="a Job"),
        pytest.param([owner("ReplicaSet", "llama-leader-abc") | {"controller": False}], id="an owner beside"),
    ],
)
def test_a_pod_that_the_workload_did_not_make_is_somebody_elses(owners: list[Json]) -> None:
    objects: dict[str, Any] = {
        "pods": [single("a", node="n1", owners=owners)],
        "gpu_nodes": [gpu_node("n1")],
        "requests": [request()],
    }
    found = statuses(**objects)["n1"]
    assert (found["used"], found["others"], found.get("services", [])) == (2, [{"gpus": 2, "resource": GPU}], [])
    assert snapshot(**objects).members["team", "llama"] == []


def test_a_labelled_pod_without_gpus_leaves_nothing() -> None:
    assert parse_pod(single("a", node="n1", gpus=0, owners=[]), GPU) is None


def test_partitions_are_counted_by_their_own_name() -> None:
    partition = {"resources": {"limits": {"amd.com/cpx_nps4": "5"}}}
    pods = [pod("a", node="n1"), pod("b", node="n1", containers=[partition, container()])]
    found = statuses(pods=pods, gpu_nodes=[gpu_node("n1")])
    assert found["n1"]["others"] == [{"gpus": 5, "resource": "amd.com/cpx_nps4"}, {"gpus": 2, "resource": GPU}]


def test_what_is_not_bound_or_has_ended_holds_nothing() -> None:
    pods = [pod("waits"), pod("failed", node="n1", phase="Failed"), single("evicted", node="n1", phase="Failed")]
    assert statuses(pods=pods, gpu_nodes=[gpu_node("n1")], requests=[request()])["n1"]["used"] == 0


def test_a_pod_that_is_being_deleted_holds_its_gpus_until_it_is_gone() -> None:
    assert statuses(pods=[pod("a", node="n1", leaving=True)], gpu_nodes=[gpu_node("n1")])["n1"]["used"] == 2


def test_an_unused_node_says_zero_and_then_nothing_more_is_written() -> None:
    assert statuses(gpu_nodes=[gpu_node("n1")])["n1"] == {"observed": True, "used": 0}
    assert statuses(gpu_nodes=[gpu_node("n1", IDLE)]) == {}


def test_only_what_changed_is_written_and_freed_gpus_are_taken_off() -> None:
    held = IDLE | {"used": 2, "others": [{"gpus": 2, "resource": GPU}], "observedGeneration": 3}
    assert statuses(pods=[pod("a", node="n1")], gpu_nodes=[gpu_node("n1", held)]) == {}
    assert statuses(gpu_nodes=[gpu_node("n1", held)]) == {"n1": {"used": 0, "others": []}}


def test_a_write_holds_only_for_the_state_that_was_seen() -> None:
    [patch] = plan_nodes(snapshot(gpu_nodes=[gpu_node("n1")]))
    assert patch.body["metadata"] == {"uid": "uid-n1", "resourceVersion": "10"}
