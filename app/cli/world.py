"""What a plan is made from: the service, what is known of its model, the GPU nodes and everybody else's decisions.

The same values whether they come from files, from a line of a batch, or from a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from app import gpunode
from app.cli.errors import CliError
from app.hook import DecorateRequest, Objects, Parent
from app.inferenceservice.handshake import GPU_REQUEST
from app.inferenceservice.observed import DEPLOYMENT, LEADER_WORKER_SET, MODEL_CACHE, SERVICE
from app.inferenceservice.spec import InferenceServiceSpec
from app.kube.manifest import Manifest
from app.settings import Settings
from app.topology.models import ModelFacts

Children = dict[str, dict[str, Manifest]]


def no_children() -> Children:
    """A new service under a controller that manages every kind."""
    return {kind: {} for kind in (DEPLOYMENT, LEADER_WORKER_SET, SERVICE, GPU_REQUEST, MODEL_CACHE)}


@dataclass(frozen=True)
class World:
    """One question. Times and settings are given, so the same world has the same answer."""

    parent: Parent
    spec: InferenceServiceSpec
    settings: Settings
    now: datetime
    model: ModelFacts | None = None
    """From a config.json that was given; None = as the operator finds it, by cache and catalogue."""
    unreadable: str = ""
    """Why a config.json that was given says nothing: then nothing is known of the model."""
    gpu_nodes: tuple[Manifest, ...] = ()
    others: int = 0
    """Nodes that are no AMD GPU nodes."""
    pool: Parent | None = None
    """None: no GPUPool of the asked name exists."""
    pools: Mapping[str, Manifest] = field(default_factory=dict)
    namespaces: Mapping[str, Manifest] = field(default_factory=dict)
    requests: Mapping[str, Manifest] = field(default_factory=dict)
    """GPURequests of all services, by namespace/name."""
    allocations: Mapping[str, Manifest] = field(default_factory=dict)
    children: Children = field(default_factory=no_children)
    """What runs of this service."""
    caches: Mapping[str, Manifest] = field(default_factory=dict)
    is_live: bool = False
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.parent.namespace}/{self.parent.name}"

    @property
    def related(self) -> Objects:
        return {MODEL_CACHE: dict(self.caches)}

    @property
    def runs(self) -> bool:
        return bool(self.children.get(DEPLOYMENT) or self.children.get(LEADER_WORKER_SET))


def offline_pool(spec: InferenceServiceSpec) -> Parent:
    """A pool over all nodes of a file."""
    return Parent(metadata={"name": spec.resources.pool, "uid": "offline"}, spec={})


def gpu_nodes_of(nodes: Iterable[Any], settings: Settings) -> tuple[tuple[Manifest, ...], int]:
    """GPUNodes as the hook makes them of Nodes, and how many Nodes have none."""
    found: list[Manifest] = []
    others, names = 0, set[str]()
    for number, node in enumerate(nodes, 1):
        made = _attached(node, number, settings)
        names.add(made[0])
        others += not made[1]
        found += made[1]
    if len(names) < others + len(found):
        raise CliError("two nodes have the same name")
    return tuple(found), others


def _attached(node: Any, number: int, settings: Settings) -> tuple[str, list[Manifest]]:
    kind = node.get("kind", "Node") if isinstance(node, Mapping) else ""
    if kind != "Node":
        raise CliError(f"object {number} of the nodes is no Node{f', but a {kind}' if kind else ''}")
    metadata = node.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise CliError(f"node {number} has no metadata.name")
    try:
        request = DecorateRequest.model_validate({"object": node})
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"][1:])
        raise CliError(f"node {name}: {where} is not accepted") from None
    for key in ("labels", "annotations"):
        if not isinstance(request.object.metadata.get(key) or {}, Mapping):
            raise CliError(f"node {name}: metadata.{key} must be an object")
    return name, gpunode.sync(request, settings).attachments


def keyed(objects: Iterable[Manifest]) -> dict[str, Manifest]:
    """By namespace/name, or by name alone."""
    found = {}
    for item in objects:
        metadata = item.get("metadata") or {}
        namespace, name = metadata.get("namespace"), metadata.get("name", "")
        found[f"{namespace}/{name}" if namespace else name] = item
    return found
