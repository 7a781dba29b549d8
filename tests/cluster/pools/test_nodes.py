"""Taints, nodes that go, partitions, racks: what runs is left alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.cluster.pools.pool import NODES, allocations, granted, phases, wait_phase
from tests.cluster.world import API, World, gpus, service
from tools.sandbox.cluster import Cluster, is_schedulable, wait_until
from tools.sandbox.nodes import build_node
from tools.sandbox.operator import Operator

ZONE = "topology.kubernetes.io/zone"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
with_real_lws = pytest.mark.skipif("LWS_MANAGER" not in os.environ, reason="only the real LWS manager makes pods")


def taint(world: World, node: str, taints: list[dict[str, str]]) -> None:
    world.cluster.patch("v1", "Node", node, None, {"spec": {"taints": taints}})


def test_a_taint_matters_to_those_who_wait_and_not_to_what_runs(world: World) -> None:
    world.apply(service("runs", resources={"totalGpus": 8}))
    world.wait_ready("runs")
    [node] = granted(world)
    others = [f"mi300x-{number}" for number in range(NODES)]
    before = world.deployment("runs")["metadata"]["generation"]
    try:
        for name in others:
            taint(world, name, [{"key": "maintenance", "effect": "NoSchedule"}])
        wait_until(lambda: tainted(world) == NODES, "the pool knows of the taints")
        world.apply(service("waits", resources={"totalGpus": 8}))
        waiting = wait_phase(world, "waits", "Pending")
        assert "5 of 5 nodes have the taint maintenance:NoSchedule" in waiting["message"]
        assert granted(world) == {node: 8}
    finally:
        for name in others:
            taint(world, name, [])
    wait_phase(world, "waits", "Bound")
    world.wait_ready("waits")
    assert world.deployment("runs")["metadata"]["generation"] == before


def tainted(world: World) -> int:
    return sum(bool(it["spec"].get("taints")) for it in world.cluster.list(API, "GPUNode"))


def test_when_a_node_goes_its_gpus_are_given_up_and_other_services_stay(world: World) -> None:
    for number in range(NODES):
        world.apply(service(f"s{number}", resources={"totalGpus": 8}))
    wait_until(lambda: phases(world) == {"Bound": NODES}, "all are placed")
    for number in range(NODES):
        world.wait_ready(f"s{number}")
    world.settled()
    lost = next(name for name, it in allocations(world).items() if it["gpus"][0]["node"] == "mi300x-4")
    others = {name: it for name, it in allocations(world).items() if name != lost}
    pods = {it["metadata"]["uid"] for it in world.all_of("v1", "Pod") if it["spec"].get("nodeName") != "mi300x-4"}
    try:
        world.cluster.delete("v1", "Node", "mi300x-4")
        # Kubernetes removes pods of a node that is gone at a look each 20 s, once they were orphans for 40 s; what they
        # hold is given up after it.
        wait_phase(world, lost, "Pending")
        assert {name: it for name, it in allocations(world).items() if name != lost} == others
    finally:
        world.cluster.create_nodes([build_node(4)])
    wait_phase(world, lost, "Bound")
    world.wait_ready(lost)
    assert pods <= {it["metadata"]["uid"] for it in world.all_of("v1", "Pod")}


def test_a_node_gone_for_five_minutes_frees_what_was_bound_on_it_and_nothing_else(world: World) -> None:
    """Its kubelet falls silent; the moment is then put back, for a test need not wait."""
    for number in range(NODES - 1):
        world.apply(service(f"s{number}", resources={"totalGpus": 8}))
        world.wait_ready(f"s{number}")
    before = {name: it["gpus"][0]["node"] for name, it in allocations(world).items()}
    [free] = {f"mi300x-{number}" for number in range(NODES)} - set(before.values())
    lost, node = next(iter(before.items()))
    pods = {it["metadata"]["uid"] for it in world.all_of("v1", "Pod") if it["spec"].get("nodeName") != node}
    try:
        fail(world, node, "true")
        world.cluster.wait_for(API, "GPUNode", node, None, lambda it: "notReadySince" in it["spec"], describe="silent")
        time.sleep(6)
        assert {name: it["gpus"][0]["node"] for name, it in allocations(world).items()} == before, "not for a moment"
        put_back(world, node, minutes=6)
        moved = before | {lost: free}
        wait_until(
            lambda: {name: it["gpus"][0]["node"] for name, it in allocations(world).items()} == moved,
            f"{lost} is given {free} instead of {node}",
        )
    finally:
        fail(world, node, None)
        world.cluster.wait_for("v1", "Node", node, None, is_schedulable, describe="Ready again")
        world.cluster.wait_for(API, "GPUNode", node, None, lambda it: "notReadySince" not in it["spec"])
    assert pods <= {it["metadata"]["uid"] for it in world.all_of("v1", "Pod")}


def fail(world: World, node: str, value: str | None) -> None:
    annotations = {"metadata": {"annotations": {"sandbox.inference.ai/fail": value}}}
    world.cluster.patch("v1", "Node", node, None, annotations)


def put_back(world: World, node: str, minutes: int) -> None:
    """The Node's Ready condition says that it has been false for so long."""
    moment = datetime.now(UTC) - timedelta(minutes=minutes)
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    body = {"status": {"conditions": [ready]}}
    world.cluster.patch("v1", "Node", node, None, body, subresource="status", content_type=STRATEGIC_PATCH)


@pytest.mark.parametrize(
    ("naming", "asked", "resource"),
    [
        pytest.param("mixed", {"resource": "amd.com/cpx_nps4"}, "amd.com/cpx_nps4", id="by a resource name of its own"),
        pytest.param("single", {"partition": "cpx_nps4"}, "amd.com/gpu", id="by the node's label"),
    ],
)
def test_partitions_are_served(
    world: World, naming: Literal["single", "mixed"], asked: dict[str, str], resource: str
) -> None:
    """Two MI300X cut into eight each; the model is known, so its memory is planned for 24 GiB of a partition."""
    cut = build_node(0, prefix="cut", gpus=2, partition="cpx_nps4", naming=naming)
    world.cluster.create_nodes([cut])
    try:
        resources = {"gpu": {"count": 2, **asked}, "autoOptimize": True}
        world.apply(service(model={"name": "Qwen/Qwen3-8B", "maxTokens": 8192}, resources=resources))
        status = world.wait_ready()["status"]["allocation"]
        assert (status["product"], status["assignedNodes"]) == ("MI300X-CPX-NPS4", ["cut-0"])
        [container] = world.deployment()["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == {resource: "2"}
        [pod] = [it for it in world.all_of("v1", "Pod") if it["metadata"]["name"].startswith("demo-")]
        assert pod["spec"]["nodeName"] == "cut-0"
    finally:
        world.remove_services()
        world.cluster.delete("v1", "Node", "cut-0")
        world.cluster.wait_gone(API, "GPUNode", "cut-0", None)


@pytest.fixture(scope="module")
def racks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three racks of two nodes."""
    with (
        Cluster.start(Path(tmp_path_factory.mktemp("racks")), nodes=0) as cluster,
        Operator.start(cluster, resync_seconds=5) as running,
    ):
        cluster.create_nodes(build_node(it, rack=f"r{it // 2}", labels={ZONE: "z"}) for it in range(6))
        world = World(running, "racks")
        world.create_namespace("racks")
        yield world


@with_real_lws
def test_groups_land_whole_each_in_one_rack_and_scaling_changes_no_template(racks: World) -> None:
    resources: dict[str, Any] = {"totalGpus": 16, "strategy": "topology-aware"}
    racks.apply(service(resources=resources, distributed={"enabled": True, "size": 2}))
    racks.wait_ready()
    template = racks.group()["spec"]["leaderWorkerTemplate"]
    assert template["leaderTemplate"]["spec"]["schedulingGates"] == [{"name": "inference.ai/placement"}]
    for groups in (3, 2):
        racks.patch("demo", {"spec": {"replicas": groups}})
        racks.wait_condition("Healthy", "True", f"{groups} of {groups}")
        assert racks.group()["spec"]["leaderWorkerTemplate"] == template
        assert sorted(len(members) for members in racks_of_groups(racks).values()) == [1] * groups


def racks_of_groups(world: World) -> dict[str, set[str]]:
    """Racks by group, of pods as they run."""
    found: dict[str, set[str]] = {}
    for pod in world.all_of("v1", "Pod"):
        if gpus(pod) and "deletionTimestamp" not in pod["metadata"]:
            group = pod["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/group-index"]
            found.setdefault(group, set()).add(f"r{int(pod['spec']['nodeName'].rpartition('-')[2]) // 2}")
    return found
