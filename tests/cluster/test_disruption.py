"""Evictions through the API: a group is lost with any of its pods, so one group at a time may lose one."""

from __future__ import annotations

import os

import pytest

from tests.cluster.world import World, group
from tools.sandbox.api import ApiError, Object
from tools.sandbox.cluster import wait_until

with_real_lws = pytest.mark.skipif("LWS_MANAGER" not in os.environ, reason="only the real LWS manager makes pods")
GROUP = "leaderworkerset.sigs.k8s.io/group-index"
WORKER = "leaderworkerset.sigs.k8s.io/worker-index"


def member(world: World, index: int, worker: int) -> Object:
    [found] = [
        pod
        for pod in world.all_of("v1", "Pod")
        if (pod["metadata"]["labels"].get(GROUP), pod["metadata"]["labels"].get(WORKER)) == (str(index), str(worker))
    ]
    return found


def evict(world: World, pod: Object) -> int:
    """The status code of an eviction: 201 when the budget allows it, 429 when it does not."""
    name, namespace = pod["metadata"]["name"], world.namespace
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    try:
        world.cluster.api.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body=body)
    except ApiError as error:
        return error.code
    return 201


def allowed(world: World) -> Object:
    status: Object = (world.get("policy/v1", "PodDisruptionBudget", "demo") or {}).get("status", {})
    return status


@with_real_lws
def test_evicting_a_worker_of_one_group_shuts_the_door_for_every_other_group(world: World) -> None:
    world.apply(group(replicas=2, resources={"totalGpus": 2}))
    world.wait_condition("Healthy", "True", "2 of 2")
    wait_until(lambda: allowed(world).get("expectedPods") == 4, "the budget counts both groups' pods")
    wait_until(lambda: allowed(world).get("disruptionsAllowed") == 1, "one pod may go")
    assert evict(world, member(world, 0, 1)) == 201
    assert evict(world, member(world, 1, 1)) == 429
    assert evict(world, member(world, 1, 0)) == 429
    wait_until(lambda: allowed(world).get("disruptionsAllowed") == 1, "the group is back")
    assert evict(world, member(world, 1, 0)) == 201
