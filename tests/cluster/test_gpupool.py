"""Services that ask one pool: nobody gets a GPU twice, who waits knows for what, and what runs is left alone."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec
from app.api.v1alpha1.places import parse_places
from tests.cluster.world import API, World, condition, gpus, service
from tools.sandbox.api import ApiError, Object
from tools.sandbox.cluster import Cluster, is_schedulable, wait_until
from tools.sandbox.metacontroller import USER as METACONTROLLER
from tools.sandbox.nodes import build_node
from tools.sandbox.operator import DEFAULT_POOL, Operator

with_real_lws = pytest.mark.skipif("LWS_MANAGER" not in os.environ, reason="only the real LWS manager makes pods")

ZONE = "topology.kubernetes.io/zone"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
NODES = 5
"""Of eight GPUs each."""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A cluster of its own: what others run there would be in the way."""
    with (
        Cluster.start(Path(tmp_path_factory.mktemp("pooled")), nodes=NODES) as cluster,
        Operator.start(cluster, resync_seconds=5) as running,
    ):
        yield running


@pytest.fixture
def world(pooled: Operator) -> Iterator[World]:
    world = World(pooled, f"pool-{next(_numbers)}")
    world.create_namespace(world.namespace)
    yield world
    world.remove_services()
    wait_until(lambda: pool(world)["status"]["free"] == pool(world)["status"]["gpus"], "all GPUs are free")


def pool(world: World, name: str = "default") -> Object:
    found = world.cluster.get(API, "GPUPool", name)
    assert found is not None
    return found


def allocations(world: World) -> dict[str, Object]:
    return {it["metadata"]["name"]: it["spec"] for it in world.all_of(API, "GPUAllocation")}


def phases(world: World) -> Counter[str]:
    return Counter(it["phase"] for it in allocations(world).values())


def granted(world: World) -> Counter[str]:
    """GPUs by node that are promised for certain."""
    found: Counter[str] = Counter()
    for it in allocations(world).values():
        for place in parse_places(GPUAllocationSpec.read(it).gpus).values() if it["phase"] == "Bound" else ():
            found[place.node] += 0 if place.proposed else place.gpus
    return found


def wait_phase(world: World, name: str, phase: str) -> Object:
    world.cluster.wait_for(
        API, "GPUAllocation", name, world.namespace, lambda it: it["spec"]["phase"] == phase, describe=phase
    )
    return allocations(world)[name]


@contextmanager
def watching(world: World) -> Iterator[list[str]]:
    """Look at the allocations all the time; the list gets every node that was promised more than it has."""
    found: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            found.extend(f"{node}: {count}" for node, count in granted(world).items() if count > 8)
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def test_of_fifty_services_at_once_forty_get_the_forty_gpus_and_ten_wait(world: World) -> None:
    with watching(world) as double:
        for number in range(50):
            world.apply(service(f"s{number:02}"))
        wait_until(lambda: phases(world) == {"Bound": 40, "Pending": 10}, "forty are served")
        wait_until(lambda: sum(granted(world).values()) == 40, "all forty are confirmed")
    assert double == []
    wait_until(lambda: line(world) == list(range(1, 11)), "each has its own place in line")
    [first] = [name for name, it in allocations(world).items() if it.get("placeInLine") == 1]
    found = world.wait_condition("GPUAllocated", "False", "place 1 in line", name=first)
    assert condition(found, "GPUAllocated")["reason"] == "InsufficientGPU"
    assert "have 0 free GPUs, fewer than 1" in condition(found, "Ready")["message"]
    assert found["status"]["allocation"]["placeInLine"] == 1
    counts = {"gpus": 40, "free": 0, "allocated": 40, "pending": 10}
    wait_until(lambda: {it: pool(world)["status"].get(it) for it in counts} == counts, f"the pool counts {counts}")
    served = next(name for name, it in allocations(world).items() if it["phase"] == "Bound")
    world.cluster.delete(API, "InferenceService", served, world.namespace)
    wait_phase(world, first, "Bound")
    world.wait_ready(first)


def line(world: World) -> list[int]:
    """The places of those who wait."""
    return sorted(it.get("placeInLine") or 0 for it in allocations(world).values() if it["phase"] == "Pending")


def test_a_running_service_gets_more_and_fewer_gpus_when_it_asks_for_them(world: World) -> None:
    """Its old pods run until the new decision is bound, and the decision does not wait for them to go."""
    world.apply(service(resources={"totalGpus": 2}))
    world.wait_ready()
    for count in (8, 4):
        world.apply(service(resources={"totalGpus": count}))
        wait_until(partial(asks, world, count), f"pods of {count} GPUs")
        found = wait_phase(world, "demo", "Bound")
        assert sum(place.gpus for place in parse_places(GPUAllocationSpec.read(found).gpus).values()) == count
        world.wait_observed()
        world.wait_ready()


def asks(world: World, count: int) -> bool:
    """Whether the pods of the service are to have so many."""
    [container] = world.deployment()["spec"]["template"]["spec"]["containers"]
    return bool(container["resources"]["limits"]["amd.com/gpu"] == str(count))


def test_a_service_that_no_node_could_hold_is_blocked_and_told_why(world: World) -> None:
    world.apply(service(resources={"totalGpus": 16}))
    found = world.wait_condition("Ready", "False", "can never grant this")
    assert found["status"]["phase"] == "Failed"
    assert "A group needs 16 GPUs on one node" in condition(found, "Ready")["message"]
    assert "5 of 5 nodes have 8 GPUs, fewer than 16" in condition(found, "Ready")["message"]


def test_a_model_that_fits_nowhere_is_blocked_with_the_numbers_and_what_would_do(world: World) -> None:
    model = {"name": "meta-llama/Llama-3.1-405B-Instruct"}
    world.apply(service(model=model, resources={"totalGpus": 1}))
    found = world.wait_condition("Ready", "False", "it would fit on")
    message = condition(found, "Ready")["message"]
    assert "GiB a GPU" in message
    assert condition(found, "GPUAllocated")["reason"] == "InsufficientGPU"
    assert world.names(API, "GPURequest") == set()


def test_a_known_model_gets_a_shape_a_product_and_a_length(world: World) -> None:
    model = {"name": "meta-llama/Llama-3.1-70B-Instruct"}
    world.apply(service(model=model, resources={"totalGpus": 2, "autoOptimize": True}))
    status = world.wait_ready()["status"]["allocation"]
    assert (status["product"], status["phase"], status["pool"]) == ("MI300X", "Bound", "default")
    assert "for the KV cache" in status["memory"]
    template = world.deployment()["spec"]["template"]["spec"]
    [flag] = [it for it in template["containers"][0]["args"] if it.startswith("--max-model-len=")]
    assert int(flag.partition("=")[2]) == status["maxModelLen"]
    terms = template["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {"key": "inference.ai/gpu-product", "operator": "In", "values": ["MI300X"]} in terms[0]["matchExpressions"]


def test_exclusive_services_share_a_node_with_nobody(world: World) -> None:
    world.apply(service("alone", resources={"totalGpus": 2, "sharing": "exclusive"}))
    world.wait_ready("alone")
    for number in range(4):
        world.apply(service(f"full-{number}", resources={"totalGpus": 8}))
        world.wait_ready(f"full-{number}")
    world.apply(service("late", resources={"totalGpus": 2}))
    late = wait_phase(world, "late", "Pending")
    assert "1 of 5 nodes is held by a service for itself" in late["message"]
    pods = [it for it in world.all_of("v1", "Pod") if it["metadata"]["name"].startswith("alone-")]
    [host] = {it["spec"]["nodeName"] for it in pods}
    assert {it["metadata"]["labels"]["inference.ai/service"] for it in placed_on(world, host)} == {"alone"}


def placed_on(world: World, node: str) -> list[Object]:
    return [it for it in world.all_of("v1", "Pod") if gpus(it) and it["spec"].get("nodeName") == node]


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


def test_services_that_read_one_volume_and_come_together_get_one_node(world: World) -> None:
    """Five of eight GPUs each: only one of them fits on a node, and the other never goes to another one."""
    cache = {"modelName": "org/tiny", "accessMode": "ReadWriteOnce"}
    world.apply({"apiVersion": API, "kind": "ModelCache", "metadata": {"name": "m"}, "spec": cache})
    for name, count in (("a", 3), ("b", 5), ("c", 5)):
        world.apply(service(name, resources={"totalGpus": count}, storage={"modelCache": "m"}))
    wait_until(lambda: phases(world) == {"Bound": 2, "Pending": 1}, "two fit on one node")
    assert len(granted(world)) == 1
    waiting = next(name for name, it in allocations(world).items() if it["phase"] == "Pending")
    world.wait_condition("Ready", "False", "m-cache is ReadWriteOnce", name=waiting)


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
