"""GPUPool: who gets which GPUs, who waits for what, and what the pool says of itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cluster.world import API, service
from tests.golden.scene import REQUESTS, Scene, Wanted, always, lacks, leaving, says, scenario, told
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node

POOL = "gpupool/default"
HEARTBEAT = "inference.ai/agent-heartbeat"
ZONE = {"topology.kubernetes.io/zone": "z"}
two_nodes = scenario(nodes=[build_node(0), build_node(1)])
one_node = scenario(nodes=[build_node(0)])


def gpus(name: str, count: int, *, replicas: int | None = None, **resources: Any) -> Object:
    more = {} if replicas is None else {"replicas": replicas}
    return service(name, resources={"totalGpus": count} | resources, **more)


def phases(**wanted: str) -> Wanted:
    """The phases of these services' allocations in the answer."""

    def holds(_: Object, answer: Object) -> bool:
        found = {it["metadata"]["name"]: it["spec"]["phase"] for it in answer["children"]}
        return all(found.get(name.replace("_", "-")) == it for name, it in wanted.items())

    return holds


def running(count: int) -> Wanted:
    """So many pods have nodes, by the agent's word."""

    def holds(request: Object, _: Object) -> bool:
        found = request["related"].get(REQUESTS, {}).values()
        return sum(len(it.get("status", {}).get("pods", [])) for it in found) == count

    return holds


def bound(scene: Scene, *names: str) -> None:
    for name in names:
        scene.wait(f"gpuallocation/{name}", lambda it: it["spec"]["phase"] == "Bound")


@scenario(nodes=())
def pool_empty(scene: Scene) -> None:
    """No node, then nodes that offer nothing, then one that does."""
    scene.keep(POOL, "asks-for-all", always, hook="customize")
    scene.keep(POOL, "no-nodes", told("Ready", "False", "No AMD node matches"))
    scene.apply(gpus("demo", 1))
    scene.keep(POOL, "a-service-asks", says("no nodes"))
    silent = build_node(0, product=None, labels={"accelerator": "amd-gpu"})
    scene.world.cluster.create_nodes([silent])
    scene.keep(POOL, "a-node-offers-nothing", says("look at AMD's device plugin there"))
    scene.world.cluster.create_nodes([build_node(1)])
    scene.keep(POOL, "a-node-comes", phases(demo="Bound"), told("Ready", "True"), running(1))


@scenario(nodes=[build_node(0), build_node(0, prefix="mi210", product="MI210", gpus=4)])
def pool_two_products(scene: Scene) -> None:
    """Which product is chosen, and what is said of the other."""
    model = {"name": "meta-llama/Llama-3.1-70B-Instruct"}
    scene.apply(service("large", model=model, resources={"totalGpus": 2, "autoOptimize": True}))
    scene.keep(POOL, "a-large-model", phases(large="Bound"), running(1))
    scene.apply(gpus("four", 4), gpus("eight", 8))
    scene.keep(POOL, "one-waits-for-the-larger", phases(four="Bound", eight="Pending"), running(2))
    scene.world.cluster.create_nodes([build_node(0, prefix="w7900", product="W7900", gpus=2)])
    scene.keep(POOL, "a-third-product", says("W7900"))


@scenario(nodes=[build_node(0), build_node(0, prefix="plain", labelled=False)])
def pool_unknown_product(scene: Scene) -> None:
    """A node without AMD's labels: what must be known is not placed there, anything else may be."""
    model = {"name": "Qwen/Qwen3-8B"}
    scene.apply(gpus("first", 8))
    bound(scene, "first")
    scene.apply(service("known", model=model, resources={"totalGpus": 8, "autoOptimize": True}))
    scene.keep(POOL, "label-the-node", says("inference.ai/gpu-declared-product"))


@two_nodes
def pool_taints(scene: Scene) -> None:
    """Taints and cordons matter to those who wait, and not to what runs."""
    scene.apply(gpus("runs", 8))
    scene.keep(POOL, "one-runs", phases(runs="Bound"), running(1))
    for it in ("mi300x-0", "mi300x-1"):
        scene.node(it, {"spec": {"taints": [{"key": "maintenance", "effect": "NoSchedule"}]}})
    scene.keep(POOL, "both-are-tainted", lambda it, _: str(it["related"]).count("'maintenance'") == 2)
    scene.apply(gpus("waits", 8))
    scene.keep(POOL, "one-waits-for-a-taint", says("have the taint maintenance:NoSchedule"))
    for it in ("mi300x-0", "mi300x-1"):
        scene.world.cluster.patch("v1", "Node", it, None, {"spec": {"taints": None, "unschedulable": True}})
    scene.keep(POOL, "both-are-cordoned", phases(waits="Pending"), says("unschedulable"))
    for it in ("mi300x-0", "mi300x-1"):
        scene.world.cluster.patch("v1", "Node", it, None, {"spec": {"taints": None, "unschedulable": None}})
    scene.keep(POOL, "the-way-is-free", phases(waits="Bound"), running(2))


@two_nodes
def pool_node_lost(scene: Scene) -> None:
    """A kubelet falls silent, for a moment, for five minutes; then the Node is deleted."""
    scene.apply(gpus("demo", 8))
    scene.see(POOL, phases(demo="Bound"), running(1))
    placed = scene.wait("gpuallocation/demo")["spec"]["gpus"][0]["node"]
    scene.fail_node(placed)
    scene.keep(POOL, "silent-for-a-moment", lambda it, _: "notReadySince" in str(it["related"]))
    scene.apply(gpus("later", 8))
    scene.keep(POOL, "others-go-elsewhere", phases(later="Bound"), running(2))
    scene.fail_node(placed, minutes=6)
    scene.keep(POOL, "gone", phases(demo="Pending"))
    scene.world.cluster.delete("v1", "Node", placed)
    scene.keep(POOL, "node-deleted", lambda it, _: placed not in it["related"]["GPUNode.inference.ai/v1alpha1"])


@one_node
def pool_health(scene: Scene) -> None:
    """GPUs that are unhealthy: fewer are given, and what stands in breach is told."""
    scene.apply(gpus("demo", 6))
    scene.see(POOL, phases(demo="Bound"), running(1))
    scene.node("mi300x-0", {"status": {"allocatable": {"amd.com/gpu": "7"}}}, status=True)
    scene.keep(POOL, "one-is-unhealthy", lambda _, answer: answer["status"]["gpus"] == 7)
    scene.apply(gpus("two", 2))
    scene.keep(POOL, "another-waits", phases(two="Pending"))
    scene.node("mi300x-0", {"status": {"allocatable": {"amd.com/gpu": "4"}}}, status=True)
    scene.keep(POOL, "kept-in-breach", lambda _, answer: answer["status"]["gpus"] == 4)
    scene.node("mi300x-0", {"status": {"allocatable": {"amd.com/gpu": "0"}}}, status=True)
    scene.keep(POOL, "none-is-left", lambda _, answer: answer["status"]["gpus"] == 0)


@scenario(
    nodes=[build_node(0, gpus=2, partition="cpx_nps4", naming="mixed"), build_node(1, gpus=2, partition="cpx_nps4")]
)
def pool_partitions(scene: Scene) -> None:
    """Partitions by a resource name of their own and by the node's label, beside a service that wants whole GPUs."""
    model = {"name": "Qwen/Qwen3-8B", "maxTokens": 8192}
    named = {"gpu": {"count": 2, "resource": "amd.com/cpx_nps4"}, "autoOptimize": True}
    labelled = {"gpu": {"count": 2, "partition": "cpx_nps4"}, "autoOptimize": True}
    scene.apply(service("named", model=model, resources=named), service("labelled", model=model, resources=labelled))
    scene.keep(POOL, "both-ways", phases(named="Bound", labelled="Bound"), running(2))
    scene.apply(gpus("whole", 4))
    scene.keep(POOL, "whole-gpus-are-asked-for", lambda it, _: "whole" in str(it["related"].get(REQUESTS)))


@one_node
def pool_line(scene: Scene) -> None:
    """Priorities and age make the line; small services go ahead while nothing is held back."""
    scene.apply(gpus("runs", 6))
    bound(scene, "runs")
    scene.apply(gpus("large", 8, priority=5))
    scene.keep(POOL, "first-in-line", phases(large="Pending"), running(1))
    scene.apply(gpus("small", 2))
    scene.keep(POOL, "a-small-one-goes-ahead", phases(small="Bound", large="Pending"), running(2))
    scene.apply(gpus("urgent", 4, priority=100), gpus("patient", 4, priority=-100))
    scene.keep(POOL, "a-line-of-three", phases(urgent="Pending", patient="Pending", large="Pending"))
    scene.delete("inferenceservice/runs")
    scene.keep(POOL, "next-in-line", phases(urgent="Bound", large="Pending"), running(2))


@one_node
def pool_reservation(scene: Scene) -> None:
    """Who waited for long gets a node held back, and smaller services wait behind it."""
    scene.pool(reserveAfter="1s", nodeSelector={"matchLabels": {"accelerator": "amd-gpu"}})
    scene.apply(gpus("runs", 6))
    bound(scene, "runs")
    scene.apply(gpus("large", 8))
    scene.see(POOL, phases(large="Pending"))
    time.sleep(3)
    scene.apply(gpus("small", 2))
    scene.keep(POOL, "held-back", phases(large="Pending", small="Pending"), says("held"))
    scene.delete("inferenceservice/runs")
    scene.keep(POOL, "it-gets-its-node", phases(large="Bound", small="Pending"), running(1))


@two_nodes
def pool_exclusive(scene: Scene) -> None:
    """A service that shares its nodes with nobody."""
    scene.apply(gpus("alone", 2, sharing="exclusive"))
    scene.keep(POOL, "alone", phases(alone="Bound"), running(1))
    scene.apply(gpus("full", 8), gpus("late", 2))
    scene.keep(POOL, "another-waits", phases(full="Bound", late="Pending"), says("held by a service for itself"))
    scene.delete("inferenceservice/full")
    scene.keep(POOL, "the-other-node-is-free", phases(alone="Bound", late="Bound"), running(2))
    scene.apply(gpus("second", 8, sharing="exclusive"))
    scene.keep(POOL, "a-second-one-waits", phases(second="Pending"))


@scenario(nodes=[build_node(it, rack=f"r{it // 2}", labels=ZONE) for it in range(4)])
def pool_racks(scene: Scene) -> None:
    """Groups of two nodes, each whole in one rack."""
    resources = {"totalGpus": 16, "strategy": "topology-aware"}
    scene.apply(service("demo", resources=resources, distributed={"enabled": True, "size": 2}))
    scene.keep(POOL, "one-group", phases(demo="Bound"), running(2))
    scene.apply(gpus("single", 8))
    scene.see(POOL, phases(single="Bound"), running(3))
    scene.edit("inferenceservice/demo", {"replicas": 2})
    scene.keep(
        POOL,
        "no-rack-is-whole",
        lambda _, answer: "Pending" in str(answer["children"]) or "2 groups" in str(answer["children"]),
    )


@scenario(nodes=[build_node(it) for it in range(3)])
def pool_static(scene: Scene) -> None:
    """A stage on each node, each on a node of its own; then more groups than fit."""
    resources = {"totalGpus": 2, "strategy": "static"}
    scene.apply(service("demo", resources=resources, distributed={"enabled": True, "size": 2}))
    scene.keep(POOL, "a-node-for-each-stage", phases(demo="Bound"), running(2))
    scene.edit("inferenceservice/demo", {"replicas": 4})
    scene.keep(POOL, "more-groups", running(8))


@one_node
def pool_impossible(scene: Scene) -> None:
    """What no node could ever hold, and whose selector no node has."""
    scene.apply(gpus("sixteen", 16))
    scene.keep(POOL, "more-than-a-node-has", phases(sixteen="Impossible"))
    scene.apply(gpus("partition", 2, gpu={"partition": "cpx_nps4"}))
    scene.keep(POOL, "a-partition-that-nobody-has", phases(partition="Impossible"))
    model = {"name": "Qwen/Qwen3-8B"}
    wrong = service("other", model=model, resources={"gpu": {"count": 1, "resource": "amd.com/dpx_nps2"}})
    scene.apply(wrong)
    scene.keep(POOL, "a-resource-that-nobody-has", phases(other="Impossible"))


@two_nodes
def pool_overlap(scene: Scene) -> None:
    """Two pools that match the same nodes: the older has them, until it narrows its selector or goes."""
    time.sleep(1.1)
    scene.pool("second")
    scene.keep("gpupool/second", "younger", told("NodesClaimed", "True", "Nodes that an older pool has"))
    scene.keep(POOL, "older", lambda it, _: len(it["related"]["GPUPool.inference.ai/v1alpha1"]) == 2)
    chosen = {
        "nodeSelector": {
            "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["mi300x-0"]}]
        }
    }
    scene.world.cluster.patch(API, "GPUPool", "default", None, {"spec": {"nodeSelector": None}})
    scene.world.cluster.patch(API, "GPUPool", "default", None, {"spec": chosen})
    scene.keep("gpupool/second", "has-what-is-left", told("Ready", "True", "1 node"))
    scene.apply(gpus("here", 8), gpus("there", 8, pool="second"))
    scene.keep(POOL, "each-has-one", phases(here="Bound"), running(2))
    scene.keep("gpupool/second", "and-the-other", phases(there="Bound"), running(2))
    scene.world.cluster.delete(API, "GPUPool", "default")
    scene.keep("gpupool/second", "the-older-is-gone", lambda _, answer: answer["status"]["nodes"] == 2)


@one_node
def pool_namespaces(scene: Scene) -> None:
    """A pool for some namespaces only."""
    team = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    scene.world.cluster.patch(API, "GPUPool", "default", None, {"spec": team})
    scene.keep(POOL, "asks-for-namespaces", lambda _, answer: "namespaces" in str(answer), hook="customize")
    scene.apply(gpus("demo", 1))
    scene.keep(POOL, "not-admitted", phases(demo="Impossible"), says("does not serve namespace"))
    scene.world.cluster.patch("v1", "Namespace", "pool-namespaces", None, {"metadata": {"labels": {"team": "a"}}})
    scene.keep(POOL, "admitted", phases(demo="Bound"), running(1))


@two_nodes
def pool_quota(scene: Scene) -> None:
    """Limits of a namespace: of GPUs, of priority, raised and below what runs; another namespace goes on."""
    mine = {"matchLabels": {"kubernetes.io/metadata.name": "pool-quota"}}
    limits = [{"maxPriority": 10}, {"namespaceSelector": mine, "gpus": 4, "maxPriority": 0}]
    scene.world.cluster.patch(API, "GPUPool", "default", None, {"spec": {"limits": limits}})
    scene.apply(gpus("first", 4, priority=100), gpus("second", 4, priority=100))
    scene.keep(POOL, "one-is-limited", says("may hold 4 GPUs of this pool", "counts as 0"), running(1))
    other = scene.neighbour("pool-quota-b")
    other.apply(gpus("free", 8, priority=100))
    scene.keep(POOL, "another-namespace", says("counts as 10"), running(2))
    scene.world.cluster.patch(API, "GPUPool", "default", None, {"spec": {"limits": [{"gpus": 2}]}})
    scene.keep(POOL, "less-than-runs", lambda it, _: it["parent"]["spec"]["limits"] == [{"gpus": 2}], running(2))
    scene.world.cluster.patch(API, "GPUPool", "default", None, {"spec": {"limits": None}})
    scene.keep(POOL, "limits-are-gone", running(3))


@one_node
def pool_agent(scene: Scene) -> None:
    """The agent is silent for longer than is believed, and comes back."""
    scene.apply(gpus("demo", 2))
    scene.see(POOL, phases(demo="Bound"), running(1))
    scene.world.operator.agent.stop()
    try:
        moment = f"{datetime.now(UTC) - timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ}"
        scene.patch(POOL, {"metadata": {"annotations": {HEARTBEAT: moment}}})
        scene.keep(POOL, "silent", told("AgentAlive", "False", "is silent for over"))
        scene.apply(gpus("blind", 2))
        scene.keep(POOL, "placed-without-it", phases(blind="Bound"))
        scene.patch(POOL, {"metadata": {"annotations": {HEARTBEAT: None}}})
        scene.keep(POOL, "never-heard-of", told("AgentAlive", "False", "has given no sign yet"))
    finally:
        scene.world.operator.agent.restart()
    scene.keep(POOL, "back", told("AgentAlive", "True"), running(2))


@two_nodes
def pool_given_back(scene: Scene) -> None:
    """Pods that a quota keeps out give their GPUs back after ten minutes, which are put back here."""
    metadata = {"name": "one", "namespace": "pool-given-back"}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata,
        "spec": {"hard": {"requests.amd.com/gpu": "1"}},
    }
    cluster = scene.world.cluster
    cluster.apply(quota)
    cluster.wait_for("v1", "ResourceQuota", "one", "pool-given-back", lambda it: "hard" in it.get("status", {}))
    scene.apply(gpus("greedy", 1, replicas=6, priority=1000))
    scene.keep(POOL, "pods-do-not-come", says("awaitingSince"), running(1))
    scene.wait("gpuallocation/greedy", lambda it: "awaitingSince" in it["spec"])
    moment = f"{datetime.now(UTC) - timedelta(minutes=11):%Y-%m-%dT%H:%M:%SZ}"
    scene.patch("gpuallocation/greedy", {"spec": {"awaitingSince": moment}})
    scene.keep(POOL, "given-back", says("The GPUs of 5 pods were given back"))
    scene.keep(POOL, "is-withheld", lambda it, _: "givenBack" in str(it["children"]))
    cluster.delete("v1", "ResourceQuota", "one", "pool-given-back")
    scene.keep(POOL, "pods-come-after-all", running(6))


@one_node
def pool_edited(scene: Scene) -> None:
    """A changed request waits while the decision about the earlier one stands."""
    scene.apply(gpus("demo", 2), gpus("other", 6))
    scene.see(POOL, phases(demo="Bound", other="Bound"), running(2))
    scene.edit("inferenceservice/demo", {"resources": {"totalGpus": 4}})
    scene.keep(POOL, "the-change-waits", says('"next"'))
    scene.edit("inferenceservice/demo", {"resources": {"totalGpus": 16}})
    scene.keep(POOL, "the-change-is-impossible", says('"next"', "Impossible"))
    scene.edit("inferenceservice/demo", {"resources": {"totalGpus": 2}})
    scene.keep(POOL, "taken-back", lacks('"next"'), phases(demo="Bound"))
    scene.delete("inferenceservice/other")
    scene.edit("inferenceservice/demo", {"resources": {"totalGpus": 4}})
    scene.keep(POOL, "the-change-is-granted", phases(demo="Bound"), says("1 pod of 4 GPUs"))


@two_nodes
def pool_volume(scene: Scene) -> None:
    """Services that read one ReadWriteOnce volume share a node, or wait for it."""
    cache = {"modelName": "org/tiny", "accessMode": "ReadWriteOnce"}
    scene.apply({"apiVersion": API, "kind": "ModelCache", "metadata": {"name": "m"}, "spec": cache})
    for name, count in (("a", 3), ("b", 5), ("c", 5)):
        scene.apply(service(name, resources={"totalGpus": count}, storage={"modelCache": "m"}))
    scene.keep(POOL, "one-waits-for-the-volume", says("m-cache is ReadWriteOnce"), running(2))


@one_node
def pool_unreadable(scene: Scene) -> None:
    """A spec that today's CRD refuses keeps what was decided; so does a request of such."""
    scene.apply(gpus("demo", 2))
    scene.see(POOL, phases(demo="Bound"), running(1))
    scene.stored(
        "gpurequests", "GPURequest", lambda: scene.patch("gpurequest/demo", {"spec": {"gpusPerNode": 100_000}})
    )
    scene.keep(POOL, "a-request-cannot-be-read", lambda it, _: "100000" in str(it["related"]))
    wrong = {"spec": {"reserveAfter": "soon"}}
    scene.stored("gpupools", "GPUPool", lambda: scene.patch(POOL, wrong))
    scene.keep(POOL, "refused", told("Ready", "False", "reserveAfter"))


@one_node
def pool_others(scene: Scene) -> None:
    """Pods of no service hold GPUs of a node."""
    context = {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    container = {
        "name": "train", "image": "registry.example/train:v1", "securityContext": context,
        "resources": {"limits": {"amd.com/gpu": "5"}},
    }  # fmt: skip
    scene.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "training"}, "spec": {"containers": [container]}}
    )
    scene.keep(POOL, "five-are-in-use", lambda _, answer: answer["status"]["free"] == 3)
    scene.apply(gpus("demo", 4))
    scene.keep(POOL, "a-service-waits-for-them", phases(demo="Pending"))


@one_node
def pool_scaled(scene: Scene) -> None:
    """An autoscaler's range: the fewest are promised, the rest as they come."""
    scaling = {"enabled": True, "minReplicas": 1, "maxReplicas": 4}
    scene.apply(service("demo", resources={"totalGpus": 2, "cpuRequest": "1"}, autoscaling=scaling))
    scene.keep(POOL, "the-fewest", phases(demo="Bound"), running(1))
    scene.patch("deployment/demo-leader", {"spec": {"replicas": 3}})
    scene.keep(POOL, "more-groups", running(3))
    scene.patch("deployment/demo-leader", {"spec": {"replicas": 1}})
    scene.keep(POOL, "fewer-groups", running(1))


@one_node
def pool_deleted(scene: Scene) -> None:
    """It goes in the foreground while its services run, and comes again."""
    scene.apply(gpus("demo", 2))
    scene.see(POOL, phases(demo="Bound"), running(1))
    scene.patch("gpuallocation/demo", {"metadata": {"finalizers": ["example.com/held"]}})
    scene.delete(POOL, "Foreground")
    scene.keep(POOL, "goes", leaving)
    scene.patch("gpuallocation/demo", {"metadata": {"finalizers": None}})
    scene.world.cluster.wait_gone(API, "GPUPool", "default", None)
    scene.pool(nodeSelector={"matchLabels": {"accelerator": "amd-gpu"}})
    scene.keep(POOL, "comes-again", phases(demo="Bound"), running(1))


@scenario(nodes=())
def pool_finalized(scene: Scene) -> None:
    """An installation whose controller has the finalize hook."""
    with scene.finalizing("gpupool"):
        scene.pool("short-lived", nodeSelector={"matchLabels": {"accelerator": "none"}})
        scene.see("gpupool/short-lived", told("Ready", "False"))
        scene.world.cluster.delete(API, "GPUPool", "short-lived")
        scene.keep("gpupool/short-lived", "finalized", always, hook="finalize")
