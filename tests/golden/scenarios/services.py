"""InferenceService: what blocks it, what it waits for, how it runs, fails, changes and goes."""

from __future__ import annotations

from typing import Any

from tests.cluster.world import API, LWS, group, service
from tests.golden.scene import Request, Scene, Wanted, always, leaving, phase, says, scenario, told
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node

DEMO = "inferenceservice/demo"
WORKLOADS = ("Deployment.apps/v1", f"LeaderWorkerSet.{LWS}")
one_node = scenario(nodes=[build_node(0)])
two_nodes = scenario(nodes=[build_node(0), build_node(1)])
no_nodes = scenario(nodes=())


def cache(name: str = "weights", **spec: Any) -> Object:
    return {
        "apiVersion": API,
        "kind": "ModelCache",
        "metadata": {"name": name},
        "spec": {"modelName": "org/tiny"} | spec,
    }


def generation(number: int) -> Wanted:
    return lambda it, _: it["parent"]["metadata"]["generation"] == number


def workloads(request: Request) -> list[Object]:
    return [it for kind in WORKLOADS for it in request["children"].get(kind, {}).values()]


def pods_fail(scene: Scene, *, reason: str = "", message: str = "", waiting: str = "", code: int = 1) -> None:
    """The leader's container of the service's one pod ended so, or waits so."""
    found = [it for it in scene.world.all_of("v1", "Pod") if it["metadata"]["name"].startswith("demo-")]
    pod = found[0]
    ended = {"exitCode": code, "reason": reason or "Error", "message": message, "finishedAt": "2026-01-01T00:00:00Z"}
    container = pod["spec"]["containers"][0]
    status: Object = {
        "name": container["name"], "image": container["image"], "imageID": "", "restartCount": 3, "ready": False,
        "state": {"waiting": {"reason": waiting or "CrashLoopBackOff", "message": "back-off"}},
    }  # fmt: skip
    if not waiting:
        status["lastState"] = {"terminated": ended}
    phase_now = "Pending" if waiting else "Running"
    body = {"status": {"phase": phase_now, "containerStatuses": [status]}}
    scene.patch(f"pod/{pod['metadata']['name']}", body, status=True)


@no_nodes
def service_blocked(scene: Scene) -> None:
    """Each check that needs an edit."""
    ray = {"engineArgs": {"distributed_executor_backend": "ray"}}
    pair = {"enabled": True, "size": 2}
    stories: dict[str, tuple[Object, str]] = {
        "resource-of-no-gpu": (
            service("a", resources={"gpu": {"count": 1, "resource": "example.com/nic"}}),
            "names no AMD GPU",
        ),
        "mpi-and-ray": (group("d", distributed=pair | {"mpi": {"enabled": True}}, vllm=ray), "keep one"),
        "ray-on-one-node": (service("e", vllm=ray), "is for several nodes"),
        "argument-mistyped": (service("f", vllm={"engineArgs": {"max_num_seqs": "many"}}), "takes a whole number"),
        "argument-owned": (service("g", vllm={"engineArgs": {"nnodes": 4}}), "cannot be set here"),
        "fits-nowhere": (service("i", model={"name": "meta-llama/Llama-3.1-405B-Instruct"}), "it would fit on"),
    }
    for case, (item, words) in stories.items():
        scene.apply(item)
        scene.keep(f"inferenceservice/{item['metadata']['name']}", case, told("Ready", "False", words))
    odd = service("odd", resources={"totalGpus": 4}, vllm={"engineArgs": {"tensor_parallel_size": 3}})
    scene.stored("inferenceservices", "InferenceService", lambda: scene.apply(odd))
    scene.keep("inferenceservice/odd", "shape-contradicts", told("Ready", "False", "ConfigurationError"))
    long = service("a-name-of-an-earlier-version-that-is-too-long-for-labels-of-pods")
    scene.stored("inferenceservices", "InferenceService", lambda: scene.apply(long))
    scene.keep(f"inferenceservice/{long['metadata']['name']}", "name-too-long", told("Ready", "False", "characters"))


@no_nodes
def service_waits_for_cache(scene: Scene) -> None:
    """Every state of the cache that it names; and two that it cannot read from where it would run."""
    scene.apply(service(storage={"modelCache": "weights"}))
    scene.keep(DEMO, "asks-for-the-cache", always, hook="customize")
    scene.apply(cache())
    scene.keep(DEMO, "pending", told("Ready", "False", "which is Pending"))
    job = scene.job("weights")
    scene.run(job)
    scene.keep(DEMO, "downloading", told("Ready", "False", "which is Downloading"))
    scene.patch(f"job/{job}", {"spec": {"activeDeadlineSeconds": 1}})
    scene.keep(DEMO, "failed", told("Ready", "False", "which is Failed"))
    scene.apply(
        cache("once", accessMode="ReadWriteOnce", caching={"replicas": 2}),
        service("two", replicas=2, storage={"modelCache": "once"}),
    )
    scene.keep("inferenceservice/two", "of-one-node-for-two", told("Ready", "False", "ConfigurationError"))
    scene.apply(service("own", model={"name": "tiny", "source": "hf://org/tiny"}))
    scene.keep("inferenceservice/own", "its-own-is-made", told("Ready", "False", "its ModelCache is being made"))


@one_node
def service_runs(scene: Scene) -> None:
    """From nothing to Ready, more groups, none, some again; an edit; deletion in the foreground."""
    scene.apply(service(replicas=2))
    scene.keep(DEMO, "starting", phase("Starting"), lambda it, _: bool(workloads(it)))
    scene.keep(DEMO, "ready", told("Healthy", "True", "2 of 2"))
    scene.edit(DEMO, {"replicas": 3})
    scene.keep(DEMO, "one-more-is-coming", told("Healthy", "False", "2 of 3"))
    scene.edit(DEMO, {"replicas": 0})
    scene.keep(DEMO, "scaled-to-zero", told("Ready", "False", "ScaledToZero"))
    scene.edit(DEMO, {"replicas": 1, "model": {"temperature": 0.2}, "networking": {"serviceType": "NodePort"}})
    scene.keep(DEMO, "edited", generation(4))
    scene.see(DEMO, told("Healthy", "True", "1 of 1"))
    scene.edit(DEMO, {"storage": {"modelCache": "missing"}})
    scene.keep(DEMO, "edit-cannot-be-applied", phase("Degraded"), told("UpdateAvailable", "Unknown"))
    scene.patch("deployment/demo-leader", {"metadata": {"finalizers": ["example.com/held"]}})
    scene.delete(DEMO, "Foreground")
    scene.keep(DEMO, "goes", leaving)
    scene.patch("deployment/demo-leader", {"metadata": {"finalizers": None}})


@one_node
def service_pods_fail(scene: Scene) -> None:
    """What the agent tells of a pod that does not serve: each is replayed on the same pod."""
    scene.apply(service())
    scene.see(DEMO, phase("Ready"))
    for pod in scene.world.all_of("v1", "Pod"):
        marks = {"sandbox.inference.ai/fail": "true", "sandbox.inference.ai/hold": "true"}
        scene.patch(f"pod/{pod['metadata']['name']}", {"metadata": {"annotations": marks}})
    scene.keep(DEMO, "crashes", told("Healthy", "False", "Container leader ended"))
    pods_fail(scene, reason="OOMKilled", code=137)
    scene.keep(DEMO, "out-of-memory", told("Ready", "False", "memory"))
    pods_fail(scene, waiting="ImagePullBackOff")
    scene.keep(DEMO, "no-image", told("Ready", "False", "cannot get its image"))
    pods_fail(scene, message="torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB.")
    scene.keep(DEMO, "out-of-gpu-memory", told("Ready", "False", "[Resource]"))
    pods_fail(scene, message="ValueError: unrecognised architecture")
    scene.keep(DEMO, "an-exception", told("Ready", "False", "unrecognised architecture"))


@one_node
def service_unschedulable(scene: Scene) -> None:
    """The pool has GPUs and the kube-scheduler finds no node; a name is taken; a quota is used up."""
    scene.apply(service(resources={"totalGpus": 1, "cpuRequest": "10000"}))
    scene.keep(DEMO, "no-cpu", told("Ready", "False", "Insufficient cpu"))
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "one"},
        "spec": {"hard": {"requests.amd.com/gpu": "1"}},
    }
    scene.apply(quota)
    scene.apply(service("more", resources={"totalGpus": 2}))
    scene.keep(
        "inferenceservice/more", "quota-of-gpus", told("Ready", "False", "InsufficientGPU"), says("exceeded quota")
    )


@no_nodes
def service_name_taken(scene: Scene) -> None:
    taken = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo"},
        "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]},
    }  # fmt: skip
    scene.apply(taken, service())
    scene.keep(DEMO, "waits-for-its-service", told("ChildConflict", "Unknown"))
    scene.keep(DEMO, "service-is-anothers", told("ChildConflict", "True", "was not created within 30 s"))


@one_node
def service_pool_says(scene: Scene) -> None:
    """What the pool answers: it waits, it can never be, the namespace is not admitted, a change waits."""
    scene.apply(service(resources={"totalGpus": 8}), service("never", resources={"totalGpus": 16}))
    scene.keep("inferenceservice/never", "never", told("Ready", "False", "can never grant this"))
    scene.see(DEMO, phase("Ready"))
    scene.apply(service("later", resources={"totalGpus": 4, "priority": 7}))
    scene.keep("inferenceservice/later", "in-line", told("GPUAllocated", "False", "place 1 in line"))
    scene.edit(DEMO, {"resources": {"totalGpus": 16}})
    scene.keep(DEMO, "the-change-can-never-be", generation(2), told("Ready", "False", "InsufficientGPU"))
    scene.edit(DEMO, {"resources": {"totalGpus": 8, "sharing": "exclusive"}})
    scene.keep(DEMO, "another-sharing", generation(3))
    scene.world.cluster.patch(
        API, "GPUPool", "default", None, {"spec": {"namespaceSelector": {"matchLabels": {"team": "a"}}}}
    )
    scene.apply(service("outside"))
    scene.keep("inferenceservice/outside", "not-admitted", told("Ready", "False", "does not serve namespace"))


@one_node
def service_autoscaled(scene: Scene) -> None:
    """Switched on, scaled, switched off: the number of groups is never reset."""
    scaling = {"enabled": True, "minReplicas": 2, "maxReplicas": 4, "targetUtilization": 50}
    scene.apply(service(resources={"totalGpus": 1, "cpuRequest": "1"}, autoscaling=scaling))
    scene.keep(DEMO, "born-under-it", told("Healthy", "True", "2 of 2"))
    scene.patch("deployment/demo-leader", {"spec": {"replicas": 3}})
    scene.keep(DEMO, "scaled", told("Healthy", "True", "3 of 3"))
    scene.edit(DEMO, {"autoscaling": {"enabled": False}})
    scene.keep(
        DEMO, "switched-off", generation(2), lambda it, _: not it["children"]["HorizontalPodAutoscaler.autoscaling/v2"]
    )
    scene.keep(DEMO, "one-is-no-number", told("Ready", "True", "stay, because the API server writes 1"))
    scene.edit(DEMO, {"replicas": 2})
    scene.keep(DEMO, "by-hand", told("Healthy", "True", "2 of 2"))


@two_nodes
def service_becomes_a_group(scene: Scene) -> None:
    """One pod becomes a group of two nodes, natively, by Ray, by MPI; and one pod again."""
    scene.apply(service())
    scene.see(DEMO, phase("Ready"))
    scene.edit(DEMO, {"resources": {"totalGpus": 2}, "distributed": {"enabled": True, "size": 2}})
    scene.keep(DEMO, "the-kind-is-to-change", generation(2))
    scene.keep(
        DEMO,
        "a-group",
        told("Healthy", "True"),
        lambda it, _: bool(it["children"][WORKLOADS[1]]) and not it["children"][WORKLOADS[0]],
    )
    scene.edit(DEMO, {"vllm": {"engineArgs": {"distributed_executor_backend": "ray"}}})
    scene.keep(DEMO, "by-ray", generation(3), lambda it, _: "ray" in str(it["children"][WORKLOADS[1]]))
    scene.edit(DEMO, {"vllm": None, "distributed": {"mpi": {"enabled": True}}})
    scene.keep(DEMO, "waits-for-ssh-keys", generation(4))
    scene.keep(DEMO, "by-mpi", generation(4), phase("Ready"))
    scene.edit(DEMO, {"distributed": {"mpi": {"sshKeySecret": "mine"}}})
    scene.keep(DEMO, "with-a-key-of-its-own", generation(5))
    scene.edit(DEMO, {"distributed": {"enabled": False}})
    scene.keep(DEMO, "one-pod-again", generation(6), lambda it, _: bool(it["children"][WORKLOADS[0]]))


@two_nodes
def service_keys_fail(scene: Scene) -> None:
    """The Job that makes ssh keys fails."""
    scene.apply(group(distributed={"enabled": True, "size": 2, "mpi": {"enabled": True}}))
    job = scene.job("demo")
    scene.patch(f"job/{job}", {"spec": {"activeDeadlineSeconds": 1}})
    scene.keep(DEMO, "keys-could-not-be-made", told("Ready", "False", "could not make the ssh keys"))


@one_node
def service_without_effect(scene: Scene) -> None:
    """Fields that are accepted and do nothing."""
    annotations = {
        "nginx.ingress.kubernetes.io/auth-url": "https://elsewhere.example",
        "kubernetes.io/tls-acme": "true",
    }
    ingress = {"enabled": True, "host": "demo.example.com", "annotations": annotations}
    scene.apply(
        service(
            replicas=1,
            resources={"totalGpus": 1, "strategy": "static", "autoOptimize": True},
            distributed={"enabled": False, "size": 3, "mpi": {"enabled": True, "timeout": 60}},
            autoscaling={"enabled": False, "maxReplicas": 4},
            monitoring={"enabled": False, "prometheus": {"port": 9091}},
            networking={"ports": {"grpc": 8001}, "ingress": ingress},
        )
    )
    scene.keep(DEMO, "told-each", told("SpecApplied", "False", "auth-url"), told("Ready", "True"))


@one_node
def service_from_source(scene: Scene) -> None:
    """model.source: a ModelCache of its own, which is taken back when the source goes."""
    scene.apply(service(model={"name": "tiny", "source": "hf://org/tiny@v1"}))
    scene.keep(DEMO, "its-cache-downloads", says("waits for ModelCache demo-model"))
    scene.keep(DEMO, "ready", phase("Ready"))
    scene.edit(DEMO, {"model": {"source": None}})
    scene.keep(DEMO, "no-source", generation(2))


@one_node
def service_reads_volume(scene: Scene) -> None:
    """A cache whose volume one node mounts, with a neighbour; then the cache goes."""
    scene.apply(cache(accessMode="ReadWriteOnce"), service("other", storage={"modelCache": "weights"}))
    scene.see("inferenceservice/other", phase("Ready"))
    scene.apply(service(storage={"modelCache": "weights", "readOnly": False}, resources={"totalGpus": 8}))
    scene.keep(DEMO, "must-be-beside-its-neighbour", says("is ReadWriteOnce, and service other"))
    scene.delete("modelcache/weights")
    scene.keep("inferenceservice/other", "its-cache-goes", told("UpdateAvailable", "Unknown", "weights"))


@one_node
def service_replanned(scene: Scene) -> None:
    """Other settings restart nothing; the annotation takes them."""
    scene.apply(service())
    scene.see(DEMO, phase("Ready"))
    hooks = scene.world.operator.hooks
    before = hooks.settings
    hooks.restart(before | {"INFERENCE_LEADER_IMAGE": "elsewhere/leader:v9", "INFERENCE_DRAIN": "10s"})
    try:
        scene.settings = {"leader_image": "elsewhere/leader:v9", "drain": "10s"}
        scene.touch(DEMO)
        scene.keep(DEMO, "a-newer-decision", told("UpdateAvailable", "True", "elsewhere/leader:v9"))
        scene.annotate(DEMO, inference_ai__replan="now")
        scene.keep(DEMO, "taken", lambda it, _: "replan" in str(it["parent"]["metadata"].get("annotations")))
        scene.keep(
            DEMO, "up-to-date", told("UpdateAvailable", "False"), lambda it, _: "elsewhere/leader" in str(workloads(it))
        )
    finally:
        hooks.restart(before)


@scenario(nodes=[build_node(0)], settings={"pools": "none"})
def service_without_pools(scene: Scene) -> None:
    """An installation in which nobody decides about GPUs."""
    scene.world.cluster.delete(API, "GPUPool", "default")
    scene.world.cluster.wait_gone(API, "GPUPool", "default", None)
    scene.apply(service(resources={"totalGpus": 1, "pool": "mine", "priority": 3}))
    scene.keep(DEMO, "goes-by-its-spec", lambda it, _: bool(workloads(it)))


@one_node
def service_unreadable(scene: Scene) -> None:
    """A spec that today's CRD refuses keeps what runs."""
    scene.apply(service())
    scene.see(DEMO, phase("Ready"))
    wrong = {"resources": {"totalGpus": -1}}
    scene.stored("inferenceservices", "InferenceService", lambda: scene.edit(DEMO, wrong))
    scene.keep(DEMO, "refused", told("Ready", "False", "totalGpus"))


@no_nodes
def service_finalized(scene: Scene) -> None:
    """An installation whose controller has the finalize hook."""
    with scene.finalizing("inferenceservice"):
        scene.apply(service())
        scene.see(DEMO, told("Ready", "False"))
        scene.delete(DEMO)
        scene.keep(DEMO, "finalized", always, hook="finalize")
