"""Objects as the API server tells them, as small as a test needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.agent.snapshot import (
    CachedObject,
    Devices,
    Key,
    Snapshot,
    parse_allocation,
    parse_gpu_node,
    parse_node,
    parse_pod,
    parse_pool,
    parse_request,
)
from app.kube.names import LEADER, PLACEMENT_GATE, ROLE_LABEL, SERVICE_LABEL, WORKER

Json = dict[str, Any]
GPU = "amd.com/gpu"


def metadata(name: str, namespace: str = "", **more: Any) -> Json:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, "uid": f"uid-{name}", "resourceVersion": "10", **place, **more}


def container(gpus: int = 0, name: str = "leader", **more: Any) -> Json:
    resources = {"limits": {GPU: str(gpus)}, "requests": {GPU: str(gpus)}} if gpus else {}
    return {"name": name, "image": "registry/leader:v1", "resources": resources, **more}


def pod(
    name: str,
    *,
    gpus: int = 2,
    node: str = "",
    phase: str = "Pending",
    created: str = "2026-01-01T00:00:00Z",
    labels: Mapping[str, str] | None = None,
    leaving: bool = False,
    gates: Iterable[str] = (),
    status: Json | None = None,
    owners: Iterable[Json] = (),
    **spec: Any,
) -> Json:
    """Somebody's pod."""
    end = {"deletionTimestamp": "2026-01-02T00:00:00Z"} if leaving else {}
    gated = {"schedulingGates": [{"name": gate} for gate in gates]} if gates else {}
    bound = {"nodeName": node} if node else {}
    return {
        "metadata": metadata(name, "team", creationTimestamp=created, labels=dict(labels or {}), **end)
        | ({"ownerReferences": list(owners)} if owners else {}),
        "spec": {"containers": [container(gpus)], **bound, **gated, **spec},
        "status": {"phase": phase, **(status or {})},
    }


def single(name: str, service: str = "llama", **more: Any) -> Json:
    """A pod of a service's Deployment."""
    labels = {SERVICE_LABEL: service, ROLE_LABEL: LEADER, "pod-template-hash": "abc"}
    return pod(name, labels=labels, **{"owners": [owner("ReplicaSet", f"{service}-leader-abc")], **more})


def grouped(group: int, worker: int, service: str = "llama", **more: Any) -> Json:
    """A pod of a service's LeaderWorkerSet, named and labelled as LWS does."""
    labels = {
        SERVICE_LABEL: service,
        ROLE_LABEL: WORKER if worker else LEADER,
        "leaderworkerset.sigs.k8s.io/group-index": str(group),
        "leaderworkerset.sigs.k8s.io/worker-index": str(worker),
    }
    name = f"{service}-{group}-{worker}" if worker else f"{service}-{group}"
    made_by = owner("StatefulSet", f"{service}-{group}" if worker else service)
    return pod(name, labels=labels, **{"owners": [made_by], **more})


def owner(kind: str, name: str) -> Json:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}


def gated(item: Json) -> Json:
    return {**item, "spec": {**item["spec"], "schedulingGates": [{"name": PLACEMENT_GATE}]}}


def node(name: str, hostname: str | None = None) -> Json:
    return {"metadata": metadata(name, labels={"kubernetes.io/hostname": hostname or name})}


def gpu_node(name: str, status: Json | None = None, **spec: Any) -> Json:
    return {"metadata": metadata(name), "spec": spec} | ({"status": status} if status else {})


def request(name: str = "llama", status: Json | None = None, **spec: Any) -> Json:
    base = {"pool": "default", "digest": "d1"}
    return {"metadata": metadata(name, "team"), "spec": base | spec} | ({"status": status} if status else {})


def allocation(
    places: Mapping[tuple[int, int], str],
    *,
    gpus: int = 2,
    phase: str = "Bound",
    digest: str = "d1",
    name: str = "llama",
    status: Json | None = None,
) -> Json:
    """A decision: (group, worker) -> node, each with so many GPUs."""
    granted = [
        {"group": group, "worker": worker, "node": node}
        for (group, worker), node in places.items()
        for _ in range(gpus)
    ]
    spec = {"pool": "default", "digest": digest, "phase": phase, "gpus": granted}
    return {"metadata": metadata(name, "team"), "spec": spec} | ({"status": status} if status else {})


def running(item: Json, started: str = "2026-01-01T00:01:00Z") -> Json:
    """The pod's first container runs since then."""
    state = {"name": "leader", "ready": True, "state": {"running": {"startedAt": started}}}
    return item | {"status": {"phase": "Running", "containerStatuses": [state]}}


def exporter(node: str, address: str = "127.0.0.1", phase: str = "Running") -> Json:
    """A pod of AMD's device-metrics-exporter."""
    labels = {"app.kubernetes.io/name": "metrics-exporter"}
    status = {"phase": phase, "podIP": address}
    return {
        "metadata": metadata(f"exporter-{node}", "amd", labels=labels),
        "spec": {"nodeName": node},
        "status": status,
    }


def pool(name: str = "default", heartbeat: str = "") -> Json:
    return {"metadata": metadata(name, annotations={"inference.ai/agent-heartbeat": heartbeat} if heartbeat else {})}


def _by_key(facts: Iterable[CachedObject | None]) -> dict[Key, Any]:
    return {fact.key: fact for fact in facts if fact}


def snapshot(
    *,
    pods: Iterable[Json] = (),
    nodes: Iterable[Json] = (),
    gpu_nodes: Iterable[Json] = (),
    requests: Iterable[Json] = (),
    allocations: Iterable[Json] = (),
    pools: Iterable[Json] = (),
    devices: Devices | None = None,
) -> Snapshot:
    return Snapshot(
        pods=_by_key(parse_pod(item, GPU) for item in pods),
        nodes=_by_key(map(parse_node, nodes)),
        gpu_nodes=_by_key(map(parse_gpu_node, gpu_nodes)),
        requests=_by_key(map(parse_request, requests)),
        allocations=_by_key(map(parse_allocation, allocations)),
        pools=_by_key(map(parse_pool, pools)),
        devices=devices or {},
    )
