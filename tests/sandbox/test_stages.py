"""What KWOK plays with our stages, seen through the real controllers and the real scheduler."""

from __future__ import annotations

import os

import pytest

from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster, has_condition, wait_until

pytestmark = pytest.mark.cluster

FAIL = {"sandbox.inference.ai/fail": "true"}


def container(**extra: object) -> Object:
    return {"name": "main", "image": "example.com/main:1", **extra}


def deployment(name: str, namespace: str, *, annotations: dict[str, str] | None = None, gpus: int = 1) -> Object:
    labels = {"app": name}
    resources = {"limits": {"amd.com/gpu": str(gpus)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations or {}},
                "spec": {"containers": [container(resources=resources)]},
            },
        },
    }


def job(name: str, namespace: str, *, annotations: dict[str, str] | None = None, **pod: object) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": annotations or {}},
                "spec": {"restartPolicy": "Never", "containers": [container()], **pod},
            },
        },
    }


def pods(cluster: Cluster, namespace: str) -> list[Object]:
    return cluster.list("v1", "Pod", namespace)


def test_a_deployment_that_asks_for_gpus_becomes_available(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("server", namespace))
    cluster.wait_for("apps/v1", "Deployment", "server", namespace, lambda it: has_condition(it, "Available"))
    [pod] = pods(cluster, namespace)
    assert pod["status"]["podIP"]
    assert pod["status"]["containerStatuses"][0]["ready"]


def test_a_pod_that_asks_for_more_gpus_than_a_node_has_stays_unschedulable(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("huge", namespace, gpus=16))
    wait_until(lambda: any(not has_condition(it, "PodScheduled") for it in pods(cluster, namespace)), "a pod")
    wait_until(lambda: any(has_condition(it, "PodScheduled", "False") for it in pods(cluster, namespace)), "a verdict")


def test_readiness_can_be_delayed(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("slow", namespace, annotations={"sandbox.inference.ai/ready-after": "1h"}))
    wait_until(lambda: any(it["status"]["phase"] == "Running" for it in pods(cluster, namespace)), "a running pod")
    assert not has_condition(pods(cluster, namespace)[0], "Ready")


def test_a_failing_pod_crashes_until_it_is_healed(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("broken", namespace, annotations=FAIL))

    def reasons() -> list[str]:
        statuses = [status for it in pods(cluster, namespace) for status in it["status"].get("containerStatuses", [])]
        return [status["state"].get("waiting", {}).get("reason", "") for status in statuses]

    wait_until(lambda: "CrashLoopBackOff" in reasons(), "a crash loop")
    [pod] = pods(cluster, namespace)
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
    healed = {"metadata": {"annotations": {"sandbox.inference.ai/fail": None}}}
    cluster.patch("v1", "Pod", pod["metadata"]["name"], namespace, healed)
    cluster.wait_for("v1", "Pod", pod["metadata"]["name"], namespace, lambda it: has_condition(it, "Ready"))


def test_a_running_pod_can_be_made_to_fail(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("server", namespace))
    cluster.wait_for("apps/v1", "Deployment", "server", namespace, lambda it: has_condition(it, "Available"))
    [pod] = pods(cluster, namespace)
    cluster.patch("v1", "Pod", pod["metadata"]["name"], namespace, {"metadata": {"annotations": FAIL}})
    cluster.wait_for("v1", "Pod", pod["metadata"]["name"], namespace, lambda it: has_condition(it, "Ready", "False"))


def test_deleting_a_deployment_ends_its_pods(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("server", namespace))
    cluster.wait_for("apps/v1", "Deployment", "server", namespace, lambda it: has_condition(it, "Available"))
    cluster.delete("apps/v1", "Deployment", "server", namespace)
    wait_until(lambda: not pods(cluster, namespace), "all pods are gone")


def test_a_job_completes(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job("work", namespace))
    done = cluster.wait_for("batch/v1", "Job", "work", namespace, lambda it: has_condition(it, "Complete"))
    assert done["status"]["succeeded"] == 1


def test_a_failing_job_fails(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job("work", namespace, annotations=FAIL))
    cluster.wait_for("batch/v1", "Job", "work", namespace, lambda it: has_condition(it, "Failed"))


def test_a_running_job_can_be_deleted(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job("work", namespace, annotations={"sandbox.inference.ai/ready-after": "1h"}))
    wait_until(lambda: any(it["status"]["phase"] == "Running" for it in pods(cluster, namespace)), "a running pod")
    cluster.delete("batch/v1", "Job", "work", namespace)
    wait_until(lambda: not pods(cluster, namespace), "its pod is gone")


def test_a_deleted_pod_of_a_job_is_replaced(cluster: Cluster, namespace: str) -> None:
    work = job("work", namespace, annotations={"sandbox.inference.ai/ready-after": "3s"})
    work["spec"]["backoffLimit"] = 3
    cluster.apply(work)
    wait_until(lambda: any(it["status"]["phase"] == "Running" for it in pods(cluster, namespace)), "a running pod")
    [pod] = pods(cluster, namespace)
    cluster.delete("v1", "Pod", pod["metadata"]["name"], namespace)
    cluster.wait_gone("v1", "Pod", pod["metadata"]["name"], namespace)
    cluster.wait_for("batch/v1", "Job", "work", namespace, lambda it: has_condition(it, "Complete"))


@pytest.mark.parametrize("storage_class", [None, "", "fast-nvme"])
@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteMany"])
def test_a_claim_of_any_class_is_bound_and_usable(
    cluster: Cluster, namespace: str, storage_class: str | None, mode: str
) -> None:
    spec: Object = {"accessModes": [mode], "resources": {"requests": {"storage": "100Gi"}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace}}
    cluster.apply({**claim, "spec": spec})
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    cluster.apply(job("reader", namespace, volumes=[volume]))
    bound = cluster.wait_for(
        "v1", "PersistentVolumeClaim", "data", namespace, lambda it: it["status"].get("phase") == "Bound"
    )
    assert bound["status"]["capacity"] == {"storage": "100Gi"}
    cluster.wait_for("batch/v1", "Job", "reader", namespace, lambda it: has_condition(it, "Complete"))
    cluster.delete("batch/v1", "Job", "reader", namespace)
    cluster.delete("v1", "PersistentVolumeClaim", "data", namespace)
    cluster.wait_gone("v1", "PersistentVolumeClaim", "data", namespace)
    cluster.wait_gone("v1", "PersistentVolume", bound["spec"]["volumeName"], None)


def test_a_load_balancer_and_an_ingress_get_addresses(cluster: Cluster, namespace: str) -> None:
    metadata = {"name": "front", "namespace": namespace}
    backend = {"service": {"name": "front", "port": {"number": 80}}}
    cluster.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            },
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": metadata,
                "spec": {"defaultBackend": backend},
            },
        ]
    )

    def addressed(it: Object) -> bool:
        return any(entry["ip"].startswith("203.0.113.") for entry in it["status"]["loadBalancer"].get("ingress", []))

    cluster.wait_for("v1", "Service", "front", namespace, addressed)
    cluster.wait_for("networking.k8s.io/v1", "Ingress", "front", namespace, addressed)


def test_a_node_can_be_lost_and_come_back(cluster: Cluster) -> None:
    cluster.add_nodes(1, prefix="fragile")
    cluster.patch("v1", "Node", "fragile-0", None, {"metadata": {"annotations": FAIL}})
    cluster.wait_for("v1", "Node", "fragile-0", None, lambda it: has_condition(it, "Ready", "False"))
    cluster.patch("v1", "Node", "fragile-0", None, {"metadata": {"annotations": {"sandbox.inference.ai/fail": None}}})
    cluster.wait_for("v1", "Node", "fragile-0", None, lambda it: has_condition(it, "Ready"))
    cluster.delete("v1", "Node", "fragile-0")


def worker_set(namespace: str, replicas: int) -> Object:
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "groups", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "leaderWorkerTemplate": {"size": 2, "workerTemplate": {"spec": {"containers": [container()]}}},
        },
    }


def test_a_leader_worker_set_becomes_available_and_follows_its_scale(cluster: Cluster, namespace: str) -> None:
    def ready(replicas: int) -> Object:
        return cluster.wait_for(
            "leaderworkerset.x-k8s.io/v1",
            "LeaderWorkerSet",
            "groups",
            namespace,
            lambda it: has_condition(it, "Available") and it["status"].get("readyReplicas", 0) == replicas,
            describe=f"available with {replicas} groups",
        )

    cluster.apply(worker_set(namespace, 1))
    first = ready(1)
    assert first["status"]["hpaPodSelector"].startswith("leaderworkerset.sigs.k8s.io/name=groups")
    scale = {"spec": {"replicas": 3}}
    cluster.patch("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "groups", namespace, scale, subresource="scale")
    third = ready(3)
    if "LWS_MANAGER" not in os.environ:  # the real one fills it in more slowly than it reports readiness
        assert third["status"]["observedGeneration"] == third["metadata"]["generation"]


def test_who_wrote_what_is_read_from_the_audit_log(cluster: Cluster, namespace: str) -> None:
    begun = cluster.now()
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": namespace}}
    cluster.apply(config)
    [event] = [it for it in cluster.audit_writes(begun) if it.name == "seen"]
    assert (event.verb, event.user, event.resource, event.code) == ("patch", "admin", "configmaps", 201)
