"""What only events say of pods reaches Ready: quotas are real, kubelet and the attach-detach controller are played.

Their texts are those of Kubernetes 1.35: `reconciler.reportMultiAttachError`, and kubelet's `operationExecutor`.
"""

from __future__ import annotations

import os

import pytest

from tests.cluster.world import World, condition, group, service
from tools.sandbox.agent import USER
from tools.sandbox.api import ApiError, Object
from tools.sandbox.cluster import has_condition, wait_until

with_real_lws = pytest.mark.skipif("LWS_MANAGER" not in os.environ, reason="only the real LWS manager makes pods")
MOUNT = 'MountVolume.SetUp failed for volume "certificates" : secret "certificates" not found'
HUNG = (
    "Readiness probe failed: gpu_available: ok\napi_responsive: ok\n"
    "engine_progress: 3 requests run, and no step has ended for 150 s\n"
)
ATTACH = 'Multi-Attach error for volume "pvc-77" Volume is already used by pod(s) notebook-0'


def limit(world: World, **hard: str) -> None:
    """A ResourceQuota, once the API server enforces it."""
    item = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}
    world.apply(item)
    wait_until(
        lambda: (world.get("v1", "ResourceQuota", "team") or {}).get("status", {}).get("hard") == hard,
        f"the quota {hard} counts",
    )


def hold(world: World, pod: Object) -> Object:
    """The pod as it was before its volumes came, and as kubelet leaves it while they do not."""
    name = pod["metadata"]["name"]
    annotations = {"metadata": {"annotations": {"sandbox.inference.ai/hold": "true"}}}
    world.cluster.patch("v1", "Pod", name, world.namespace, annotations)
    containers = [it["name"] for it in pod["spec"]["containers"]]
    creating = {"state": {"waiting": {"reason": "ContainerCreating"}}, "ready": False, "restartCount": 0}
    status = {
        "phase": "Pending",
        "containerStatuses": [{"name": it, "image": "", "imageID": ""} | creating for it in containers],
        "initContainerStatuses": [],
        "podIP": None,
        "podIPs": None,
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
    }
    return world.cluster.patch("v1", "Pod", name, world.namespace, {"status": status}, subresource="status")


def release(world: World, pod: Object) -> None:
    annotations = {"metadata": {"annotations": {"sandbox.inference.ai/hold": None}}}
    world.cluster.patch("v1", "Pod", pod["metadata"]["name"], world.namespace, annotations)


def warn(world: World, pod: Object, reason: str, message: str, source: str, count: int = 1) -> None:
    """An event as the recorder of client-go writes it, and writes it again."""
    metadata = pod["metadata"]
    now = f"{world.cluster.now():%Y-%m-%dT%H:%M:%SZ}"
    about = {"kind": "Pod", "apiVersion": "v1", "namespace": world.namespace} | {
        key: metadata[key] for key in ("name", "uid")
    }
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{reason.lower()}"},
        "involvedObject": about,
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": count,
    }
    world.apply(event)


def message(found: Object) -> str:
    return str(condition(found, "Ready")["message"])


def leader(world: World) -> Object:
    [found] = [it for it in world.all_of("v1", "Pod") if it["metadata"]["labels"]["inference.ai/role"] == "leader"]
    return found


def test_a_quota_that_forbids_the_pods_of_a_deployment_is_quoted_until_it_is_raised(world: World) -> None:
    limit(world, pods="0")
    world.apply(service())
    found = world.wait_condition("Ready", "False", "exceeded quota: team, requested: pods=1")
    assert "raise that ResourceQuota, or ask for less" in message(found)
    world.cluster.delete("v1", "ResourceQuota", "team", world.namespace)
    world.wait_ready()


@with_real_lws
def test_a_quota_that_forbids_the_pods_of_a_group_is_quoted_of_leader_and_workers(world: World) -> None:
    limit(world, **{"requests.amd.com/gpu": "0"})
    world.apply(group())
    found = world.wait_condition("Ready", "False", "StatefulSet demo cannot make pod demo-0: ")
    assert "exceeded quota: team, requested: requests.amd.com/gpu=1" in message(found)
    assert "raise that ResourceQuota" in message(found)
    assert condition(found, "Ready")["reason"] == "InsufficientGPU"
    limit(world, **{"requests.amd.com/gpu": "1"})
    world.wait_condition("Ready", "False", "StatefulSet demo-0 cannot make pod demo-0-1: ")
    world.cluster.delete("v1", "ResourceQuota", "team", world.namespace)
    world.wait_ready()


def test_a_volume_that_cannot_be_mounted_is_quoted_until_the_pod_starts(world: World) -> None:
    world.apply(service())
    world.wait_ready()
    pod = hold(world, leader(world))
    warn(world, pod, "FailedMount", MOUNT, "kubelet")
    found = world.wait_condition("Ready", "False", f"FailedMount: {MOUNT}")
    assert "create it in this namespace, or correct its name" in message(found)
    assert "[Configuration]" in message(found)
    world.settled()
    since = world.cluster.now()
    for count in range(2, 5):
        warn(world, pod, "FailedMount", MOUNT, "kubelet", count)
    world.settled()
    writes = [it for it in world.cluster.audit_writes(since) if it.namespace == world.namespace and it.user == USER]
    assert writes == [], "a cause that is said again is written once"
    release(world, pod)
    world.wait_ready()


@with_real_lws
def test_a_volume_that_another_node_has_is_quoted_of_a_group(world: World) -> None:
    world.apply(group())
    world.wait_ready()
    pod = hold(world, leader(world))
    warn(world, pod, "FailedAttachVolume", ATTACH, "attachdetach-controller")
    found = world.wait_condition("Ready", "False", ATTACH)
    assert "stop the pods that use it on another node, or use a ReadWriteMany claim" in message(found)
    release(world, pod)
    world.wait_ready()


def test_a_claim_that_is_missing_or_cannot_be_made_is_quoted_until_it_is_there(world: World) -> None:
    world.apply(service(storage={"compileCacheClaim": "kernels"}))
    world.wait_condition("Ready", "False", 'persistentvolumeclaim "kernels" not found; create the claim')
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "kernels", "annotations": {"sandbox.inference.ai/hold": "true"}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    world.apply(claim | {"spec": spec | {"storageClassName": "nowhere"}})
    world.wait_condition("Ready", "False", 'ProvisioningFailed: storageclass.storage.k8s.io "nowhere" not found')
    made = {"metadata": {"annotations": {"sandbox.inference.ai/hold": None}}}
    world.cluster.patch("v1", "PersistentVolumeClaim", "kernels", world.namespace, made)
    world.wait_ready()


def test_what_a_readiness_probe_says_of_a_hung_engine_is_quoted_until_the_pod_is_ready(world: World) -> None:
    world.apply(service())
    world.wait_ready()
    pod = leader(world)
    set_ready(world, pod, ready=False)
    warn(world, pod, "Unhealthy", HUNG, "kubelet")
    found = world.wait_condition("Ready", "False", "engine_progress: 3 requests run, and no step has ended for 150 s")
    assert "[Transient]" in message(found)
    set_ready(world, pod, ready=True)
    world.wait_ready()


def set_ready(world: World, pod: Object, *, ready: bool) -> None:
    """As kubelet does when the readiness probe has failed, or does not fail any more."""
    name, now = pod["metadata"]["name"], f"{world.cluster.now():%Y-%m-%dT%H:%M:%SZ}"
    delay = {"metadata": {"annotations": {"sandbox.inference.ai/ready-after": "600s"}}}
    world.cluster.patch("v1", "Pod", name, world.namespace, delay)
    conditions = [{"type": it, "status": str(ready), "lastTransitionTime": now} for it in ("ContainersReady", "Ready")]
    containers = [it | {"ready": ready} for it in pod["status"]["containerStatuses"]]
    status = {"conditions": conditions, "containerStatuses": containers}
    world.cluster.patch("v1", "Pod", name, world.namespace, {"status": status}, subresource="status")


def test_an_event_of_another_namespace_says_nothing(world: World) -> None:
    """The API server takes no event about an object elsewhere; one that names it as its own is about nothing."""
    world.apply(service())
    world.wait_ready()
    pod = hold(world, leader(world))
    other = World(world.operator, f"{world.namespace}-b")
    other.create_namespace(other.namespace)
    warn(other, pod, "FailedMount", MOUNT, "kubelet")
    about = {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": world.namespace}
    forged = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "x"}, "involvedObject": about}
    with pytest.raises(ApiError):
        other.apply(forged | {"reason": "FailedMount", "message": MOUNT})
    world.settled()
    assert "FailedMount" not in str((world.get("inference.ai/v1alpha1", "GPURequest", "demo") or {}).get("status"))
    release(world, pod)
    world.cluster.wait_for("v1", "Pod", pod["metadata"]["name"], world.namespace, lambda it: has_condition(it, "Ready"))
