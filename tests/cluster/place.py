"""A namespace under a running agent, where tests play the operator's hooks and kubelet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.cluster.world import API, LWS
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster, wait_until

NODES = 4
GPU = "amd.com/gpu"


def cluster_object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


class Place:
    """One namespace, and what a test says about it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.owners: dict[str, Object] = {}
        """By service: what owns its pods."""

    def apply(self, kind: str, name: str, spec: Object, api: str = API, **metadata: Any) -> Object:
        item = {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": self.namespace} | metadata}
        return self.cluster.apply(item | {"spec": spec})[0]

    def request(self, name: str = "llama", *, digest: str = "d1", pods: int = 1, gpus: int = 2) -> None:
        """The need of a service, as its hook writes it."""
        spec = {
            "pool": "default",
            "digest": digest,
            "strategy": "dynamic",
            "sharing": "shared",
            "resource": GPU,
            "nodes": pods,
            "gpusPerNode": gpus,
            "replicas": {"min": 1, "max": 1},
            "shapes": [{"tensor": gpus, "pipeline": pods, "data": 1}],
            "gated": True,
        }
        self.apply("GPURequest", name, spec)
        self.workload(name)

    def workload(self, name: str) -> None:
        """What owns the service's pods. It makes none itself, so a test plays every one."""
        template = {"spec": {"containers": [{"name": "leader", "image": "registry.example/leader:v1"}]}}
        groups = {"replicas": 0, "leaderWorkerTemplate": {"size": 1, "workerTemplate": template}}
        made = self.apply("LeaderWorkerSet", name, groups, api="leaderworkerset.x-k8s.io/v1")
        api, kind, metadata = made["apiVersion"], made["kind"], made["metadata"]
        owner = {"apiVersion": api, "kind": kind, "name": name, "uid": metadata["uid"], "controller": True}
        self.owners[name] = owner

    def allocate(
        self, places: Mapping[tuple[int, int], str], *, gpus: int = 2, phase: str = "Bound", name: str = "llama"
    ) -> None:
        """The decision of a pool, as its hook writes it."""
        granted = [
            {"group": group, "worker": worker, "node": node}
            for (group, worker), node in places.items()
            for _ in range(gpus)
        ]
        self.apply("GPUAllocation", name, {"pool": "default", "digest": "d1", "phase": phase, "gpus": granted})

    def pod(self, name: str, *, gpus: int = 2, labels: Mapping[str, str] | None = None, gated: bool = False) -> None:
        made_by = self.owners.get((labels or {}).get("inference.ai/service", ""))
        owners = {"ownerReferences": [made_by]} if made_by else {}
        self.apply("Pod", name, pod_spec(gpus, gated), api="v1", labels=dict(labels or {}), **owners)

    def grouped(self, group: int, worker: int, *, gated: bool = True) -> None:
        """A pod of a LeaderWorkerSet, labelled as LWS does."""
        labels = service_labels(worker) | {
            "leaderworkerset.sigs.k8s.io/group-index": str(group),
            "leaderworkerset.sigs.k8s.io/worker-index": str(worker),
        }
        self.pod(f"llama-{group}-{worker}", labels=labels, gated=gated)

    def nodes(self) -> dict[str, str]:
        """Node by pod, "" while it has none."""
        pods = self.cluster.list("v1", "Pod", self.namespace)
        return {it["metadata"]["name"]: it["spec"].get("nodeName", "") for it in pods}

    def wait_nodes(self, expected: Mapping[str, str]) -> None:
        wait_until(lambda: self.nodes() == expected, f"pods are on {expected}")

    def status(self, name: str = "llama") -> Object:
        found = self.cluster.get(API, "GPURequest", name, self.namespace)
        status: Object = (found or {}).get("status") or {}
        return status

    def wait_failure(self, pod: str, reason: str) -> Object:
        def told() -> list[Object]:
            failures: list[Object] = self.status().get("failures", [])
            return [it for it in failures if (it["pod"], it["reason"]) == (pod, reason)]

        wait_until(lambda: bool(told()), f"{pod} has failed with {reason}: {self.status()}")
        return told()[0]

    def play(self, pod: str, status: Object) -> None:
        """Say what kubelet would."""
        self.cluster.patch("v1", "Pod", pod, self.namespace, {"status": status}, subresource="status")

    def use(self, node: str) -> Object:
        """What a GPUNode says of this namespace's services and of all others together."""
        status: Object = (self.cluster.get(API, "GPUNode", node) or {}).get("status") or {}
        ours = {it["name"]: it["gpus"] for it in status.get("services", []) if it["namespace"] == self.namespace}
        return {"ours": ours, "others": sum(it["gpus"] for it in status.get("others", []))}

    def wait_use(self, node: str, *, ours: Mapping[str, int], others: int) -> None:
        wanted = {"ours": dict(ours), "others": others}
        wait_until(lambda: self.use(node) == wanted, f"{node} has {wanted}")

    def clear(self) -> None:
        """Nothing of this test holds GPUs afterwards, and the agent has seen that."""
        for kind, api in (("LeaderWorkerSet", LWS), ("Deployment", "apps/v1"), ("Pod", "v1"), ("GPURequest", API)):
            for item in self.cluster.list(api, kind, self.namespace):
                self.cluster.delete(api, kind, item["metadata"]["name"], self.namespace)
        wait_until(lambda: not self.nodes(), f"no pods in {self.namespace}")
        wait_until(lambda: all(used(self.cluster, it) == 0 for it in range(NODES)), "all GPUs are free")


def used(cluster: Cluster, index: int) -> int | None:
    count: int | None = ((cluster.get(API, "GPUNode", f"mi300x-{index}") or {}).get("status") or {}).get("used")
    return count


def service_labels(worker: int = 0) -> dict[str, str]:
    return {"inference.ai/service": "llama", "inference.ai/role": "worker" if worker else "leader"}


def pod_spec(gpus: int = 2, gated: bool = False) -> Object:
    container = {"name": "leader", "image": "registry.example/leader:v1"}
    resources = {"resources": {"limits": {GPU: str(gpus)}}} if gpus else {}
    return {
        "containers": [container | resources],
        "terminationGracePeriodSeconds": 0,
        **({"schedulingGates": [{"name": "inference.ai/placement"}]} if gated else {}),
    }
