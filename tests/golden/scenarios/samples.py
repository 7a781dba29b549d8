"""The specification's samples and what stands beside them: each on a cluster of its own, as people run them first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cluster.world import API, LWS, example, service
from tests.golden.scene import Request, Scene, asked, scenario
from tools.sandbox.cluster import has_condition, wait_until

Predicate = Callable[[Request], bool]
NAMESPACE = "inference-system"
GROUP_KIND = f"LeaderWorkerSet.{LWS}"
CACHE_KIND = f"ModelCache.{API}"
REQUEST_KIND = f"GPURequest.{API}"
ALLOCATION_KIND = f"GPUAllocation.{API}"
NODE_KIND = f"GPUNode.{API}"
SERVICE_KIND = f"InferenceService.{API}"
on_its_own = scenario(alone=True, namespace=NAMESPACE)


def keep_as(scene: Scene, kind: str, name: str, folder: str, case: str, predicate: Predicate) -> None:
    scene.keep(f"{kind}/{name}", case, asked(predicate), folder=folder)


@on_its_own
def samples(scene: Scene) -> None:
    """The specification's samples: waiting, starting, serving, scaled, edited, broken, deleted."""
    name, world = "llama2-7b-service", scene.world

    def keep(case: str, predicate: Predicate) -> None:
        keep_as(scene, "inferenceservice", name, name, case, predicate)

    world.apply(example(name))
    keep("created", lambda it: not it["parent"].get("status"))
    keep("cache-missing", lambda it: reason(it) == "ModelNotFound")
    world.apply(example("llama2-endpoint"))
    world.apply(example("llama2-cache"))
    world.wait_ready(name)
    keep("cache-pending", lambda it: bool(related(it, CACHE_KIND)) and not cache_ready(it))
    keep("cache-ready", lambda it: cache_ready(it) and not it["children"][REQUEST_KIND])
    keep("granted", lambda it: decided(it) == "Bound" and not it["children"][GROUP_KIND])
    keep("starting", lambda it: bool(it["children"][GROUP_KIND]) and not ready_groups(it))
    keep("ready", lambda it: ready_groups(it) == 1 and phase(it) == "Ready")
    keep_cache_and_endpoint(scene)
    world.settled()
    world.cluster.patch(LWS, "LeaderWorkerSet", name, NAMESPACE, {"spec": {"replicas": 3}})
    keep("autoscaled", lambda it: ready_groups(it) == 3)
    world.patch(name, {"spec": {"vllm": {"engineArgs": {"max_num_seqs": 64}}}})
    keep("edited", lambda it: engine(it).get("max_num_seqs") == 64)
    world.settled()
    keep_as(scene, "inferenceservice", name, "settings-changed", "while-serving", lambda it: settled_edit(it))
    world.patch(name, {"spec": {"vllm": {"engineArgs": {"max_num_seqs": "many"}}}})
    keep("broken-while-serving", lambda it: engine(it).get("max_num_seqs") == "many")
    world.cluster.delete(API, "InferenceService", name, NAMESPACE, propagation="Foreground")
    keep("being-deleted", lambda it: "deletionTimestamp" in it["parent"]["metadata"])
    keep_as(scene,
        "inferenceendpoint", "llama2-endpoint", "llama2-endpoint", "service-gone",
        lambda it: bool(it["parent"].get("status")) and not related(it, SERVICE_KIND),
    )  # fmt: skip


def keep_cache_and_endpoint(scene: Scene) -> None:
    def cache(case: str, predicate: Predicate) -> None:
        keep_as(scene, "modelcache", "llama2-cache", "llama2-cache", case, predicate)

    cache("created", lambda it: not it["parent"].get("status"))
    cache("claim-pending", lambda it: bool(it["children"]["PersistentVolumeClaim.v1"]) and not jobs(it))
    cache("downloading", lambda it: any(job.get("status", {}).get("active") for job in jobs(it)))
    cache("ready", lambda it: phase(it) == "Ready")

    def endpoint(case: str, predicate: Predicate) -> None:
        keep_as(scene, "inferenceendpoint", "llama2-endpoint", "llama2-endpoint", case, predicate)

    endpoint("created", lambda it: not it["parent"].get("status"))
    endpoint("service-not-ready", lambda it: bool(it["children"]["Service.v1"]) and not target_ready(it))
    endpoint("available", target_ready)


@on_its_own
def second_spelling(scene: Scene) -> None:
    for name in ("basic-test", "distributed-test"):
        scene.world.apply(example(f"second-spelling/{name}"))
        scene.world.wait_ready(name)
        keep_as(scene, "inferenceservice", name, name, "created", lambda it: not it["parent"].get("status"))
        keep_as(scene, "inferenceservice", name, name, "cache-pending", lambda it: phase(it) == "Pending")
        keep_as(scene, "inferenceservice", name, name, "ready", lambda it: phase(it) == "Ready")


@on_its_own
def refused_by_quota(scene: Scene) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    scene.world.apply(quota)
    scene.world.apply(service())
    keep_as(scene, "inferenceservice", "demo", "failing", "quota", pods_refused)


@on_its_own
def failed_download(scene: Scene) -> None:
    """A Job whose deadline is over; KWOK's pods never fail by themselves."""
    world = scene.world
    cache = {"apiVersion": API, "kind": "ModelCache", "metadata": {"name": "demo"}, "spec": {"modelName": "org/tiny"}}
    world.apply(cache)
    wait_until(lambda: bool(world.names("batch/v1", "Job")), "the Job is there")
    [name] = world.names("batch/v1", "Job")
    world.cluster.patch("batch/v1", "Job", name, NAMESPACE, {"spec": {"activeDeadlineSeconds": 1}})
    keep_as(scene, "modelcache", "demo", "failing", "deadline", lambda it: any(has_failed(job) for job in jobs(it)))


@on_its_own
def pool(scene: Scene) -> None:
    """Four nodes of eight GPUs: of five services of eight one waits; one can never be served; one is deleted."""
    world = scene.world

    def keep(case: str, predicate: Predicate) -> None:
        keep_as(scene, "gpupool", "default", "default", case, predicate)

    keep("created", lambda it: not related(it, REQUEST_KIND) and len(related(it, NODE_KIND)) == 4)
    for number in range(5):
        world.apply(service(f"eight-{number}", resources={"totalGpus": 8}))
    keep("first-look", lambda it: bool(related(it, REQUEST_KIND)) and not it["children"][ALLOCATION_KIND])
    keep("second-look", lambda it: "Proposed" in phases(it))
    keep("one-waits", lambda it: sorted(phases(it)) == ["Bound"] * 4 + ["Pending"] and running(it) == 4)
    keep_as(scene, "inferenceservice", "eight-4", "waiting", "for-gpus", lambda it: decided(it) == "Pending")
    world.apply(service("sixteen", resources={"totalGpus": 16}))
    keep("one-is-impossible", lambda it: "Impossible" in phases(it))
    world.cluster.delete(API, "InferenceService", "eight-0", NAMESPACE)
    keep("next-in-line", lambda it: phases(it).count("Bound") == 4 and len(phases(it)) == 5 and running(it) == 4)


@on_its_own
def limits(scene: Scene) -> None:
    """A namespace that may hold half of the pool, and whose priority counts no more than others'."""
    world = scene.world
    mine = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    spec = {"limits": [{"maxPriority": 10}, {"namespaceSelector": mine, "gpus": 16, "maxPriority": 0}]}
    world.cluster.patch(API, "GPUPool", "default", None, {"spec": spec})
    wait_until(lambda: bool((world.cluster.get(API, "GPUPool", "default") or {})["spec"].get("limits")), "limits")
    for number in range(3):
        world.apply(service(f"eight-{number}", resources={"totalGpus": 8, "priority": 1000}))
    keep_as(scene,
        "gpupool", "default", "limits", "one-is-limited",
        lambda it: sorted(phases(it)) == ["Bound", "Bound", "Pending"] and running(it) == 2,
    )  # fmt: skip
    keep_as(scene, "inferenceservice", "eight-2", "limited", "by-its-namespace", lambda it: decided(it) == "Pending")


@on_its_own
def unknown_pool(scene: Scene) -> None:
    """A service that names a pool that nobody made."""
    scene.world.apply(service("elsewhere", resources={"totalGpus": 8, "pool": "no-such-pool"}))
    keep_as(scene,
        "inferenceservice", "elsewhere", "unknown-pool", "blocked",
        lambda it: any(said(child, "poolExists") is False for child in it["children"][REQUEST_KIND].values()),
    )  # fmt: skip


def said(child: Any, field: str) -> Any:
    return child.get("status", {}).get(field)


def phases(request: Request) -> list[str]:
    return [str(it["spec"]["phase"]) for it in request["children"][ALLOCATION_KIND].values()]


def running(request: Request) -> int:
    return sum(len(it.get("status", {}).get("pods", [])) for it in related(request, REQUEST_KIND))


def decided(request: Request) -> str:
    return next((str(it["spec"]["phase"]) for it in related(request, ALLOCATION_KIND)), "")


def reason(request: Request) -> str:
    conditions = (request["parent"].get("status") or {}).get("conditions") or []
    return next((str(it["reason"]) for it in conditions if it["type"] == "Ready"), "")


def phase(request: Request) -> str:
    return str((request["parent"].get("status") or {}).get("phase"))


def engine(request: Request) -> dict[str, Any]:
    return dict(request["parent"]["spec"].get("vllm", {}).get("engineArgs", {}))


def related(request: Request, kind: str) -> list[Any]:
    return list(request["related"].get(kind, {}).values())


def cache_ready(request: Request) -> bool:
    return any(has_condition(it, "Ready") for it in related(request, CACHE_KIND) if "status" in it)


def ready_groups(request: Request) -> int:
    return sum(it.get("status", {}).get("readyReplicas", 0) for it in request["children"][GROUP_KIND].values())


def settled_edit(request: Request) -> bool:
    return engine(request).get("max_num_seqs") == 64 and ready_groups(request) == 3 and phase(request) == "Ready"


def target_ready(request: Request) -> bool:
    return any(it.get("status", {}).get("readyReplicas") for it in related(request, SERVICE_KIND))


def pods_refused(request: Request) -> bool:
    deployments = request["children"]["Deployment.apps/v1"].values()
    return any(has_condition(it, "ReplicaFailure") for it in deployments)


def jobs(request: Request) -> list[Any]:
    return list(request["children"]["Job.batch/v1"].values())


def has_failed(job: Any) -> bool:
    return has_condition(job, "Failed")
