"""Limits of a pool: by namespace, of GPUs and of priority; all that match hold, and what runs stays."""

from __future__ import annotations

from typing import Any

import pytest

from app.gpupool.sync import customize
from app.metacontroller.protocol import Parent
from tests.gpupool.pool import GPU, Pool, gpu_node, pod, request
from tools.sandbox.api import Object

NAMESPACES = {"a": {"tier": "batch"}, "b": {"tier": "gold"}}
BATCH = {"matchLabels": {"tier": "batch"}}


def limited(*limits: Object) -> Pool:
    return Pool({"limits": list(limits)}, NAMESPACES)


def settled(pool: Pool, nodes: list[Object], requests: list[Object]) -> dict[str, str]:
    for _ in range(3):
        phases = pool.sync(nodes, requests)
    return phases


def test_a_namespace_gets_no_more_than_its_limit_and_others_get_the_rest() -> None:
    pool, nodes = limited({"gpus": 8, "namespaceSelector": BATCH}), [gpu_node(f"n{it}") for it in range(4)]
    asked = [request(f"a/s{it}", 4) for it in range(4)] + [request("b/big", 8, replicas={"min": 3, "max": 3})]
    phases = settled(pool, nodes, asked)
    assert sorted(phases.values()) == ["Bound", "Bound", "Bound", "Pending", "Pending"]
    message = pool.allocations["a/s3"]["message"]
    assert "Namespace a may hold 8 GPUs of this pool and holds 8; a group needs 4 GPUs" in message
    assert "ask the administrator of the pool for a higher limit (spec.limits)" in message
    assert not {"b", "big"} & set(message.replace(".", " ").split())
    assert "placeInLine" not in pool.allocations["a/s3"], "it does not wait for GPUs"


def test_the_groups_of_one_service_count_together() -> None:
    pool, nodes = limited({"gpus": 5}), [gpu_node("n1"), gpu_node("n2")]
    settled(pool, nodes, [request("a/s", 2, replicas={"min": 6, "max": 6})])
    assert len(pool.hosts("a/s")) == 4
    assert pool.allocations["a/s"]["groups"] == 2


def test_a_limit_is_of_each_namespace_alone_and_the_tightest_counts() -> None:
    pool = limited({"gpus": 6}, {"gpus": 2, "namespaceSelector": BATCH})
    nodes = [gpu_node("n1"), gpu_node("n2")]
    phases = settled(pool, nodes, [request("a/s", 4), request("b/s", 4), request("b/t", 2), request("b/u", 1)])
    assert phases == {"a/s": "Pending", "b/s": "Bound", "b/t": "Bound", "b/u": "Pending"}


def test_a_namespace_whose_labels_are_not_known_yet_is_held_by_every_limit() -> None:
    pool = limited({"gpus": 0, "namespaceSelector": BATCH})
    assert settled(pool, [gpu_node("n1")], [request("unseen/s", 1)]) == {"unseen/s": "Pending"}


def test_what_runs_stays_under_a_lower_limit_and_nothing_is_added() -> None:
    status = {"pods": [pod("n1")], "groups": 1}
    asked = [request("a/s", status=status)]
    pool, nodes = Pool(), [gpu_node("n1", services=[{"namespace": "a", "name": "s", "gpus": 8, "resource": GPU}])]
    settled(pool, nodes, asked)
    before = dict(pool.allocations)
    lowered = limited({"gpus": 4})
    lowered.allocations = dict(before)
    nodes.append(gpu_node("n2"))
    assert settled(lowered, nodes, [*asked, request("a/t", 1)]) == {"a/s": "Bound", "a/t": "Pending"}
    assert lowered.allocations["a/s"] == before["a/s"]


def test_a_limited_service_holds_no_nodes_back() -> None:
    """Else a tenant at its limit would close the pool by waiting."""
    pool = Pool({"limits": [{"gpus": 0, "namespaceSelector": BATCH}], "reserveAfter": "0s"}, NAMESPACES)
    phases = settled(pool, [gpu_node("n1")], [request("a/s", priority=1000), request("b/t", 1)])
    assert phases == {"a/s": "Pending", "b/t": "Bound"}


def test_gpus_that_a_namespace_holds_here_by_services_of_other_pools_count() -> None:
    """Else each service would be moved to another pool once it runs, and the next one gets the same limit."""
    held = [{"namespace": "a", "name": "moved", "gpus": 6, "resource": GPU}]
    pool, nodes = limited({"gpus": 8}), [gpu_node("n1", services=held), gpu_node("n2")]
    asked = [request("a/moved", 6, pool="elsewhere"), request("a/s", 2), request("a/t", 1)]
    assert settled(pool, nodes, asked) == {"a/s": "Bound", "a/t": "Pending"}


def test_an_edit_needs_no_second_share_of_the_limit() -> None:
    pool, nodes = limited({"gpus": 8}), [gpu_node("n1"), gpu_node("n2")]
    settled(pool, nodes, [request("a/s", 8)])
    assert settled(pool, nodes, [request("a/s", 4, digest="d2")]) == {"a/s": "Bound"}
    assert settled(pool, nodes, [request("a/s", 8, digest="d3")]) == {"a/s": "Bound"}


@pytest.mark.parametrize("limit", [{"maxPriority": 5}, {"maxPriority": 5, "namespaceSelector": BATCH}])
def test_a_priority_counts_up_to_its_limit_and_that_is_said(limit: Object) -> None:
    pool = limited(limit)
    asked = [request("a/s", priority=1000), request("b/t", priority=6 if "namespaceSelector" in limit else 5)]
    asked[1]["metadata"]["creationTimestamp"] = "2025-12-31T00:00:00Z"
    assert settled(pool, [gpu_node("n1")], asked) == {"a/s": "Pending", "b/t": "Bound"}
    told = "Priority 1000 counts as 5, the highest that GPUPool default allows namespace a (spec.limits)."
    assert pool.allocations["a/s"]["message"].endswith(told)


def test_labels_of_namespaces_are_asked_for_where_a_limit_selects() -> None:
    def kinds(spec: Object) -> list[str]:
        answer = customize(Parent(metadata={"name": "default"}, spec=spec))
        return [rule.resource for rule in answer.related_resources]

    assert "namespaces" not in kinds({"limits": [{"gpus": 1}]})
    assert "namespaces" in kinds({"limits": [{"gpus": 1, "namespaceSelector": BATCH}]})


def test_the_pool_says_how_far_each_limit_is_used() -> None:
    pool = limited({"maxPriority": 3}, {"gpus": 8, "namespaceSelector": BATCH}, {"gpus": 20})
    held = [{"namespace": "a", "name": "moved", "gpus": 2, "resource": GPU}]
    nodes = [gpu_node("n1", services=held), *(gpu_node(f"m{it}") for it in range(4))]
    asked = [request("a/moved", 2, pool="elsewhere"), request("a/s", 4), request("a/t", 4), request("b/s", 8)]
    assert settled(pool, nodes, asked) == {"a/s": "Bound", "a/t": "Pending", "b/s": "Bound"}
    assert pool.status["limits"] == [
        {"limit": 1, "gpus": 8, "used": 6, "namespace": "a", "waiting": 1},
        {"limit": 2, "gpus": 20, "used": 8, "namespace": "b", "waiting": 0},
    ]


def test_pods_and_places_of_one_service_are_counted_once() -> None:
    pool, nodes = limited({"gpus": 20}), [gpu_node("n1"), gpu_node("n2")]
    asked = request("a/s", 4, replicas={"min": 2, "max": 2})
    settled(pool, nodes, [asked])
    [first] = {*pool.hosts("a/s")}
    asked["status"] = {"pods": [pod(first, 4)], "groups": 1}
    settled(pool, nodes, [asked])
    assert [it["used"] for it in pool.status["limits"]] == [8]


def test_a_pool_without_limits_says_nothing_of_them() -> None:
    pool = limited({"maxPriority": 3})
    settled(pool, [gpu_node("n1")], [request("a/s")])
    assert "limits" not in pool.status


def alone(name: str, gpus: int = 1, **more: Any) -> Object:
    return request(name, gpus, sharing="exclusive", **more)


def test_an_exclusive_service_counts_with_its_whole_nodes() -> None:
    """Else a service of one GPU each would close every node of the pool."""
    pool, nodes = limited({"gpus": 8, "namespaceSelector": BATCH}), [gpu_node(f"n{it}") for it in range(4)]
    phases = settled(pool, nodes, [*(alone(f"a/s{it}") for it in range(4)), request("b/t", 8)])
    assert sorted(phases.values()) == ["Bound", "Bound", "Pending", "Pending", "Pending"]
    assert phases["b/t"] == "Bound"
    assert "Namespace a may hold 8 GPUs of this pool and holds 8" in pool.allocations["a/s1"]["message"]
    assert pool.status["limits"] == [{"limit": 0, "gpus": 8, "used": 8, "namespace": "a", "waiting": 3}]


def test_pods_of_an_exclusive_service_share_what_their_node_costs() -> None:
    pool, nodes = limited({"gpus": 8}), [gpu_node("n1"), gpu_node("n2")]
    settled(pool, nodes, [alone("a/s", 2, replicas={"min": 5, "max": 5})])
    assert pool.hosts("a/s") == ["n1"] * 8
    assert pool.allocations["a/s"]["groups"] == 4


def test_an_exclusive_service_below_no_node_of_its_limit_holds_no_nodes_back() -> None:
    """It waits for leave, so a busy node is not kept for it."""
    spec = {"limits": [{"gpus": 4, "namespaceSelector": BATCH}], "reserveAfter": "0s"}
    pool = Pool(spec, NAMESPACES)
    nodes = [gpu_node("n1", services=[{"namespace": "b", "name": "r", "gpus": 7, "resource": GPU}])]
    running = request("b/r", 7, status={"pods": [pod("n1", gpus=7)], "groups": 1})
    phases = settled(pool, nodes, [running, alone("a/s", priority=1000), request("b/t", 1)])
    assert phases == {"a/s": "Pending", "b/r": "Bound", "b/t": "Bound"}
    assert (
        "may hold 4 GPUs of this pool and holds 0; a group needs 1 GPU on one node that nobody else uses, and all GPUs "
        "of such a node count. "
    ) in pool.allocations["a/s"]["message"]


def test_an_exclusive_service_at_its_limit_may_change() -> None:
    """Its earlier node counts as given up for itself, also where it goes to another one."""
    pool, nodes = limited({"gpus": 8}), [gpu_node("n1"), gpu_node("n2", product="MI325X")]
    settled(pool, nodes, [alone("a/s", digest="1")])
    assert pool.hosts("a/s") == ["n1"]
    shapes = [{"product": "MI325X", "tensor": 1, "pipeline": 1, "data": 1}]
    phases = settled(pool, nodes, [alone("a/s", digest="2", shapes=shapes), alone("a/t")])
    assert pool.hosts("a/s") == ["n2"]
    assert phases == {"a/s": "Bound", "a/t": "Pending"}
