"""Gated pods get exactly the node that their group and worker index was granted."""

from __future__ import annotations

from typing import Any

import pytest

from app.agent.ungate import plan_ungates
from tests.agent.build import Json, allocation, gated, gpu_node, grouped, node, pod, request, single, snapshot

PLACES = {(0, 0): "n1", (0, 1): "n2", (1, 0): "n3", (1, 1): "n4"}
NODES = [node(f"n{index}") for index in range(1, 5)]


def bindings(**objects: Any) -> dict[str, tuple[str, str | None]]:
    """By pod: the host it is sent to, and the group it is labelled with."""
    objects = {"nodes": NODES, "requests": [request()]} | objects
    return {patch.key[1]: _read(patch.body) for patch in plan_ungates(snapshot(**objects))}


def _read(operations: list[Json]) -> tuple[str, str | None]:
    added = {it["path"]: it["value"] for it in operations if it["op"] == "add"}
    return added["/spec/nodeSelector/kubernetes.io~1hostname"], added.get("/metadata/labels/inference.ai~1group")


def test_pods_of_a_group_go_where_their_indexes_say_in_whatever_order_they_come() -> None:
    pods = [gated(grouped(1, 1)), gated(grouped(0, 0)), gated(grouped(1, 0)), gated(grouped(0, 1))]
    assert bindings(pods=pods, allocations=[allocation(PLACES)]) == {
        "llama-0": ("n1", None),
        "llama-0-1": ("n2", None),
        "llama-1": ("n3", None),
        "llama-1-1": ("n4", None),
    }


def test_the_patch_fits_this_pod_behind_this_gate_only() -> None:
    item = grouped(0, 0, gates=["other.example/gate", "inference.ai/placement"], nodeSelector={"a": "b"})
    [patch] = plan_ungates(
        snapshot(pods=[item], nodes=NODES, requests=[request()], allocations=[allocation({(0, 0): "n1"})])
    )
    assert patch.body == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-llama-0"},
        {"op": "test", "path": "/spec/schedulingGates/1/name", "value": "inference.ai/placement"},
        {"op": "add", "path": "/spec/nodeSelector/kubernetes.io~1hostname", "value": "n1"},
        {"op": "remove", "path": "/spec/schedulingGates/1"},
    ]


def test_a_pod_without_selector_gets_one() -> None:
    [patch] = plan_ungates(
        snapshot(
            pods=[gated(grouped(0, 0))],
            nodes=NODES,
            requests=[request()],
            allocations=[allocation({(0, 0): "n1"})],
        )
    )
    assert {"op": "add", "path": "/spec/nodeSelector", "value": {}} in patch.body


def test_a_node_is_named_by_its_host_name() -> None:
    nodes = [node("n1", hostname="machine-1")]
    found = bindings(pods=[gated(grouped(0, 0))], nodes=nodes, allocations=[allocation({(0, 0): "n1"})])
    assert found == {"llama-0": ("machine-1", None)}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param({}, id="nothing is decided"),
        pytest.param({"allocations": [allocation(PLACES, phase="Proposed")]}, id="the decision is only proposed"),
        pytest.param({"allocations": [allocation(PLACES, phase="Pending")]}, id="the service waits for GPUs"),
        pytest.param({"allocations": [allocation({(1, 0): "n3"})]}, id="its group is not placed"),
        pytest.param({"allocations": [allocation(PLACES, gpus=4)]}, id="other GPUs were granted there"),
        pytest.param({"allocations": [allocation(PLACES)], "nodes": []}, id="the node is gone"),
        pytest.param(
            {"allocations": [allocation(PLACES)], "gpu_nodes": [gpu_node("n1", notReadySince="2026-01-01T00:00:00Z")]},
            id="the node is not ready",
        ),
        pytest.param({"allocations": [allocation(PLACES)], "requests": []}, id="the service has no request"),
        pytest.param({"allocations": [allocation(PLACES, name="another")]}, id="the decision is another service's"),
    ],
)
def test_a_pod_stays_gated_while(objects: dict[str, Any]) -> None:
    assert bindings(pods=[gated(grouped(0, 0))], **objects) == {}


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(gated(pod("foreign")), id="a pod without our label"),
        pytest.param(grouped(0, 0), id="a pod without our gate"),
        pytest.param(grouped(0, 0, gates=["other.example/gate"]), id="a pod behind another gate"),
        pytest.param(gated(grouped(0, 0, leaving=True)), id="a pod that is being deleted"),
        pytest.param(
            gated(grouped(0, 0, nodeSelector={"kubernetes.io/hostname": "n9"})), id="a pod that may go elsewhere only"
        ),
    ],
)
def test_hands_off(item: Json) -> None:
    assert bindings(pods=[item], allocations=[allocation(PLACES)]) == {}


SLOTS = {(0, 0): "n1", (1, 0): "n2", (2, 0): "n3"}


def labelled(item: Json, group: int) -> Json:
    labels = item["metadata"]["labels"] | {"inference.ai/group": str(group)}
    return {**item, "metadata": item["metadata"] | {"labels": labels}}


def test_pods_of_a_deployment_take_the_free_places_oldest_first_and_are_labelled() -> None:
    young = gated(single("a-young", created="2026-01-01T00:00:09Z"))
    old = gated(single("z-old", created="2026-01-01T00:00:01Z"))
    taken = labelled(single("there", node="n1"), 0)
    assert bindings(pods=[young, old, taken], allocations=[allocation(SLOTS)]) == {
        "z-old": ("n2", "1"),
        "a-young": ("n3", "2"),
    }


def test_a_place_is_taken_as_soon_as_its_pod_is_labelled_even_before_it_is_bound() -> None:
    waits = labelled(single("there", nodeSelector={"kubernetes.io/hostname": "n1"}), 0)
    found = bindings(pods=[waits, gated(single("next"))], allocations=[allocation(SLOTS)])
    assert found == {"next": ("n2", "1")}


def test_no_place_is_given_twice() -> None:
    pods = [gated(single(f"p{index}")) for index in range(5)]
    found = bindings(pods=pods, allocations=[allocation(SLOTS)])
    assert sorted(host for host, _ in found.values()) == ["n1", "n2", "n3"]


def test_a_place_whose_pod_is_leaving_is_given_last() -> None:
    leaving = labelled(single("leaving", node="n1", leaving=True), 0)
    pods = [leaving, gated(single("a")), gated(single("b")), gated(single("c"))]
    found = bindings(pods=pods, allocations=[allocation(SLOTS)])
    assert found == {"a": ("n2", "1"), "b": ("n3", "2"), "c": ("n1", "0")}
