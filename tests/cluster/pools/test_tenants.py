"""Limits, selectors and quotas of namespaces; several pools, and none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.pools.pool import NODES, allocations, granted, phases, wait_phase
from tests.cluster.world import API, World, condition, service
from tools.sandbox.api import ApiError
from tools.sandbox.cluster import wait_until
from tools.sandbox.metacontroller import USER as METACONTROLLER
from tools.sandbox.operator import DEFAULT_POOL


def test_a_pool_that_comes_goes_and_comes_again_writes_no_workload(world: World) -> None:
    world.apply(service("shared"))
    world.apply(service("alone", resources={"totalGpus": 1, "sharing": "exclusive"}))
    world.wait_ready("shared")
    world.wait_ready("alone")
    world.settled()
    before = [world.deployment(name)["metadata"]["generation"] for name in ("shared", "alone")]
    since = world.cluster.now()
    world.cluster.delete(API, "GPUPool", "default")
    wait_until(lambda: not allocations(world), "the pool's decisions are gone")
    time.sleep(6)
    world.cluster.apply(DEFAULT_POOL)
    wait_until(lambda: phases(world) == {"Bound": 2}, "the pool decides again")
    time.sleep(6)
    writes = [
        it for it in world.cluster.audit_writes(since) if it.resource.startswith(("deployments.", "leaderworkersets."))
    ]
    assert [it for it in writes if it.user == METACONTROLLER] == []
    assert [world.deployment(name)["metadata"]["generation"] for name in ("shared", "alone")] == before
    assert world.wait_ready("alone")["status"]["allocation"]["phase"] == "Bound"


def test_a_wrong_name_is_no_way_around_the_pools(world: World) -> None:
    """Not at once, not after a time of silence, and not for what already waits; once the pool is made, it decides."""
    world.apply(service(resources={"totalGpus": 8, "pool": "nowhere"}, replicas=4))
    found = world.wait_condition("Ready", "False", "there is no GPUPool nowhere")
    assert found["status"]["phase"] == "Failed"
    time.sleep(40)
    assert world.names("apps/v1", "Deployment") == set()
    nodes = {"matchLabels": {"accelerator": "none"}}
    made = {"apiVersion": API, "kind": "GPUPool", "metadata": {"name": "nowhere"}, "spec": {"nodeSelector": nodes}}
    world.cluster.apply(made)
    try:
        world.wait_condition("Ready", "False", "pool nowhere has no nodes")
        assert world.names("apps/v1", "Deployment") == set()
    finally:
        world.cluster.delete(API, "GPUPool", "nowhere")
    world.apply(service(resources={"totalGpus": 8}))
    world.wait_ready()


def test_a_tenant_whose_quota_keeps_pods_out_gives_the_pool_back(world: World) -> None:
    """One GPU of quota, forty groups asked for at the highest priority. The ten minutes are put back, as above."""
    quota = {"hard": {"requests.amd.com/gpu": "1"}}
    metadata = {"name": "one", "namespace": world.namespace}
    world.cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": quota})
    world.cluster.wait_for(
        "v1", "ResourceQuota", "one", world.namespace, lambda it: "hard" in it.get("status", {}), describe="enforced"
    )
    world.apply(service("greedy", replicas=40, resources={"totalGpus": 1, "priority": 1000}))
    wait_until(lambda: sum(granted(world).values()) == 40, "it is granted the whole pool")
    with neighbour(world) as other:
        other.apply(service("honest", resources={"totalGpus": 8}))
        wait_phase(other, "honest", "Pending")
        world.cluster.wait_for(
            API,
            "GPUAllocation",
            "greedy",
            world.namespace,
            lambda it: "awaitingSince" in it["spec"],
            describe="a clock",
        )
        moment = f"{datetime.now(UTC) - timedelta(minutes=11):%Y-%m-%dT%H:%M:%SZ}"
        body = {"spec": {"awaitingSince": moment}}
        world.cluster.patch(API, "GPUAllocation", "greedy", world.namespace, body)
        wait_phase(other, "honest", "Bound")
        other.wait_ready("honest")
    told = world.wait_condition("Ready", "True", "The GPUs of 39 pods were given back", name="greedy")
    assert told["status"]["readyReplicas"] == 1, "what runs stays"
    world.cluster.delete("v1", "ResourceQuota", "one", world.namespace)


@contextmanager
def neighbour(world: World) -> Iterator[World]:
    """Another tenant of the same pool."""
    other = World(world.operator, f"{world.namespace}-b")
    other.create_namespace(other.namespace)
    try:
        yield other
    finally:
        other.remove_services()


def test_pods_that_call_themselves_a_services_change_nothing(world: World) -> None:
    """Labelled, without GPUs, and bound by hand: they make no service the owner of a node."""
    world.apply(service("alone", resources={"totalGpus": 1, "sharing": "exclusive"}))
    world.wait_ready("alone")
    world.settled()
    before = allocations(world)["alone"]
    for number in range(NODES):
        labels = {"inference.ai/service": "alone", "inference.ai/role": "leader"}
        context = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {"name": "x", "image": "registry.example/x:v1", "securityContext": context}
        spec = {"nodeName": f"mi300x-{number}", "containers": [container], "terminationGracePeriodSeconds": 0}
        metadata = {"name": f"forged-{number}", "namespace": world.namespace, "labels": labels}
        world.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    time.sleep(5)
    with neighbour(world) as other:
        for number in range(NODES - 1):
            other.apply(service(f"full-{number}", resources={"totalGpus": 8}))
        for number in range(NODES - 1):
            other.wait_ready(f"full-{number}")
    assert allocations(world)["alone"] == before
    for number in range(NODES):
        world.cluster.delete("v1", "Pod", f"forged-{number}", world.namespace)


def wait_observed(world: World, name: str) -> None:
    """Until the pool decides by its latest spec."""
    world.cluster.wait_for(
        API,
        "GPUPool",
        name,
        None,
        lambda it: (it.get("status") or {}).get("observedGeneration") == it["metadata"]["generation"],
        describe="observed",
    )


def test_a_namespace_stays_within_its_limit_and_is_told_the_numbers(world: World) -> None:
    label = {"kubernetes.io/metadata.name": world.namespace}
    limits = [{"namespaceSelector": {"matchLabels": label}, "gpus": 8, "maxPriority": 0}]
    world.cluster.patch(API, "GPUPool", "default", None, {"spec": {"limits": limits}})
    try:
        wait_observed(world, "default")
        for number in range(4):
            world.apply(service(f"s{number}", resources={"totalGpus": 4, "priority": 1000}))
        wait_until(lambda: phases(world) == {"Bound": 2, "Pending": 2}, "two are served")
        waiting = next(name for name, it in allocations(world).items() if it["phase"] == "Pending")
        found = world.wait_condition("Ready", "False", "may hold 8 GPUs of this pool and holds 8", name=waiting)
        assert "Priority 1000 counts as 0" in condition(found, "Ready")["message"]
        with neighbour(world) as other:
            other.apply(service("free", resources={"totalGpus": 8}))
            other.wait_ready("free")
    finally:
        world.cluster.patch(API, "GPUPool", "default", None, {"spec": {"limits": None}})
    wait_until(lambda: phases(world) == {"Bound": 4}, "the limit is gone")


def test_a_limit_says_something(world: World) -> None:
    bad = {"apiVersion": API, "kind": "GPUPool", "metadata": {"name": "empty-limit"}, "spec": {"limits": [{}]}}
    with pytest.raises(ApiError, match="a limit gives gpus, maxPriority or both"):
        world.cluster.apply(bad)


def test_a_pool_serves_the_namespaces_it_selects(world: World) -> None:
    nodes = {"matchLabels": {"accelerator": "none"}}
    spec = {"nodeSelector": nodes, "namespaceSelector": {"matchLabels": {"team": "a"}}}
    world.cluster.apply({"apiVersion": API, "kind": "GPUPool", "metadata": {"name": "team-a"}, "spec": spec})
    try:
        world.apply(service(resources={"totalGpus": 1, "pool": "team-a"}))
        world.wait_condition("Ready", "False", f"GPUPool team-a does not serve namespace {world.namespace}")
    finally:
        world.cluster.delete(API, "GPUPool", "team-a")


def test_the_older_of_two_pools_has_the_nodes_and_the_other_says_so(world: World) -> None:
    world.cluster.apply({"apiVersion": API, "kind": "GPUPool", "metadata": {"name": "second"}, "spec": {}})
    try:
        found = world.cluster.wait_for(
            API, "GPUPool", "second", None, lambda it: bool(condition(it, "NodesClaimed")), describe="NodesClaimed"
        )
        assert found["status"]["nodes"] == 0
        assert "mi300x-0" in condition(found, "NodesClaimed")["message"]
    finally:
        world.cluster.delete(API, "GPUPool", "second")
