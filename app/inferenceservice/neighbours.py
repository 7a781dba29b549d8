"""Services that read one ReadWriteOnce volume. Kubernetes mounts it on one node at a time, so their pods must share a
node: by a rule of affinity among all pods that read it, and, once a neighbour has its node, by asking the pool for that
one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.inferenceservice.model_volume import choose_copy
from app.inferenceservice.observe import CacheState
from app.kube.lenient import mappings_at, text_at
from app.kube.names import CACHE_LABEL, label_value
from app.metacontroller.protocol import SyncRequest

GPU_REQUESTS = "GPURequest.inference.ai/v1alpha1"


@dataclass(frozen=True)
class Neighbour:
    """A service that has the volume already."""

    name: str
    node: str
    claim: str
    cache: str

    @property
    def message(self) -> str:
        return (
            f"PersistentVolumeClaim {self.claim} is ReadWriteOnce, and service {self.name} reads it on node "
            f"{self.node}: no other will do. Set accessMode ReadWriteMany or caching.replicas 2 in ModelCache "
            f"{self.cache}, or use a ModelCache of its own"
        )


def claim_of_one_node(service: str, cache: CacheState | None) -> str:
    """The claim that a service (namespace/name) reads, where one node at a time can mount it; "" else."""
    if cache is None or not cache.keeps or cache.host_path or cache.access_mode != "ReadWriteOnce":
        return ""
    copy = choose_copy(service, cache)
    return copy.claim_name if copy else cache.claim


def find_neighbour(request: SyncRequest, cache: CacheState | None) -> Neighbour | None:
    """The first service that reads the same volume and has a node, by the agent's word."""
    namespace, own = request.parent.namespace, request.parent.name
    claim = claim_of_one_node(f"{namespace}/{own}", cache)
    if cache is None or not claim:
        return None
    for name, found in sorted(_others(request, cache)):
        node = next((text_at(pod, "node") for pod in mappings_at(found, "status", "pods")), "")
        if name != own and node and claim_of_one_node(f"{namespace}/{name}", cache) == claim:
            return Neighbour(name, node, claim, cache.name)
    return None


def _others(request: SyncRequest, cache: CacheState) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for found in request.related.get(GPU_REQUESTS, {}).values():
        here = text_at(found, "metadata", "namespace") == request.parent.namespace
        if here and text_at(found, "metadata", "labels", CACHE_LABEL) == label_value(cache.name):
            yield text_at(found, "metadata", "name"), found
