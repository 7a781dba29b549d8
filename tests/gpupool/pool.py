"""A GPUPool synced again and again: its allocations of one sync are the children of the next."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from app.api.schema import API_VERSION
from app.api.v1alpha1.gpuallocation import GPUAllocationSpec
from app.api.v1alpha1.places import parse_places
from app.gpupool import sync
from app.metacontroller.protocol import SyncRequest
from app.settings import Settings
from tools.sandbox.api import Object

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
GPU = "amd.com/gpu"


def gpu_node(name: str, *, services: Iterable[Object] = (), others: int = 0, **spec: Any) -> Object:
    """A GPUNode with eight MI300X, and what the agent counted there."""
    held = [dict(it) for it in services]
    foreign = [{"gpus": others, "resource": GPU}] if others else []
    used = sum(it["gpus"] for it in held) + others
    resources = [{"name": GPU, "gpus": 8, "capacity": 8}]
    return {
        "metadata": {"name": name},
        "spec": {"product": "MI300X", "island": 8, "resources": resources, "labels": {}} | spec,
        "status": {"observed": True, "used": used, "services": held, "others": foreign},
    }


def request(key: str, gpus: int = 8, *, digest: str = "d", status: Object | None = None, **spec: Any) -> Object:
    """A GPURequest of one pod; `key` is namespace/name."""
    namespace, _, name = key.partition("/")
    base = {
        "pool": "default",
        "digest": digest,
        "strategy": "dynamic",
        "sharing": "shared",
        "resource": GPU,
        "nodes": 1,
        "gpusPerNode": gpus,
        "replicas": {"min": 1, "max": 1},
        "shapes": [{"product": "MI300X", "tensor": 1, "pipeline": 1, "data": 1}],
    }
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": base | spec, "status": status or {}}


def pod(node: str, gpus: int = 8, resource: str = GPU) -> Object:
    return {"name": "pod-0", "group": 0, "worker": 0, "node": node, "gpus": gpus, "resource": resource}


class Pool:
    """`namespaces` are labels by name, `others` further pools."""

    def __init__(
        self,
        spec: Object | None = None,
        namespaces: dict[str, Object] | None = None,
        others: Iterable[Object] = (),
    ) -> None:
        self._spec = spec or {}
        self._others = {it["metadata"]["name"]: it for it in others}
        self._namespaces = {
            name: {"metadata": {"name": name, "labels": labels}} for name, labels in (namespaces or {}).items()
        }
        self.allocations: dict[str, Object] = {}
        """Specs by namespace/name, as they were answered last."""
        self.status: Object = {}

    def sync(self, nodes: Iterable[Object], requests: Iterable[Object], now: datetime = NOW) -> dict[str, str]:
        """Phases by namespace/name."""
        beat = (now - timedelta(seconds=30)).isoformat()
        metadata = {"name": "default", "uid": "pool", "annotations": {"inference.ai/agent-heartbeat": beat}}
        parent = {"metadata": metadata | {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": self._spec}
        related = {
            f"GPUNode.{API_VERSION}": {it["metadata"]["name"]: it for it in nodes},
            f"GPURequest.{API_VERSION}": {_key(it): it for it in requests},
            f"GPUPool.{API_VERSION}": {"default": parent, **self._others},
            "Namespace.v1": self._namespaces,
        }
        children = {f"GPUAllocation.{API_VERSION}": {key: _stored(key, it) for key, it in self.allocations.items()}}
        body = {"parent": parent, "children": children, "related": related}
        answer = sync(SyncRequest.model_validate(body), Settings(), now)
        self.status = dict(answer.status)
        self.allocations = {_key(it): json.loads(json.dumps(it))["spec"] for it in answer.children}
        return {key: str(spec["phase"]) for key, spec in self.allocations.items()}

    def hosts(self, key: str) -> list[str]:
        """A node for each GPU, in the order of the pods."""
        places = parse_places(GPUAllocationSpec.read(self.allocations[key]).gpus)
        return [places[slot].node for slot in sorted(places) for _ in range(places[slot].gpus)]


def _key(item: Any) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def _stored(key: str, spec: Object) -> Object:
    """As the API server has it a moment later."""
    namespace, _, name = key.partition("/")
    metadata = {"namespace": namespace, "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:01Z"}
    kind = {"apiVersion": API_VERSION, "kind": "GPUAllocation"}
    return kind | {"metadata": metadata, "spec": spec}
