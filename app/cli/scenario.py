"""Everything that one question depends on, as Kubernetes objects: asked, and observed or assumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from app.api.object import Metadata, Object
from app.api.schema import API_VERSION
from app.api.v1alpha1.inferenceservice import DEFAULT_POOL, InferenceService
from app.api.v1alpha1.modelcache import KIND as MODEL_CACHE
from app.cli.inputs import NO_OVERRIDE, InputError, ModelOverride
from app.contracts.sources import parse_source
from app.gpunode.sync import sync as decorate
from app.inferenceservice.names import cache_child_name, keys_name
from app.inferenceservice.observe import JOB
from app.kube.lenient import mapping_at, text_at
from app.kube.manifest import Manifest
from app.metacontroller.protocol import DecorateRequest, Objects, Parent
from app.settings import Settings

CACHE_KIND = MODEL_CACHE.key
DEFAULT_NAMESPACE = "default"
CHILD_KINDS = (
    "Deployment.apps/v1",
    "LeaderWorkerSet.leaderworkerset.x-k8s.io/v1",
    "Service.v1",
    "Ingress.networking.k8s.io/v1",
    "NetworkPolicy.networking.k8s.io/v1",
    "HorizontalPodAutoscaler.autoscaling/v2",
    "PodDisruptionBudget.policy/v1",
    JOB,
    "ServiceAccount.v1",
    "Role.rbac.authorization.k8s.io/v1",
    "RoleBinding.rbac.authorization.k8s.io/v1",
    CACHE_KIND,
    f"GPURequest.{API_VERSION}",
)
"""What the controller of InferenceServices manages where LeaderWorkerSet is installed."""


@dataclass(frozen=True)
class Scenario:
    """One service and its world. Objects are keyed by name, those of namespaces by namespace/name."""

    service: Manifest
    pool: Manifest
    """The GPUPool that the service names; one over all nodes where there is none."""
    gpu_nodes: Mapping[str, Manifest]
    nodes: frozenset[str]
    """Names of all nodes, those without GPUs too."""
    override: ModelOverride = NO_OVERRIDE
    """What the user says of the model."""
    children: Objects = field(default_factory=dict)
    """Those of the service, by kind; a kind that is missing is not managed."""
    caches: Mapping[str, Manifest] = field(default_factory=dict)
    requests: Mapping[str, Manifest] = field(default_factory=dict)
    allocations: Mapping[str, Manifest] = field(default_factory=dict)
    pools: Mapping[str, Manifest] = field(default_factory=dict)
    namespaces: Mapping[str, Manifest] = field(default_factory=dict)
    pool_exists: bool = True
    """False: `pool` only shows what a pool would decide. Where pools are required, the service is refused."""
    notes: tuple[str, ...] = ()
    """What was assumed or could not be read."""

    @cached_property
    def key(self) -> str:
        return Object.read(self.service).key

    @property
    def parent(self) -> Parent:
        return Parent(
            metadata=dict(mapping_at(self.service, "metadata")),
            spec=dict(mapping_at(self.service, "spec")),
            status=dict(mapping_at(self.service, "status")) or None,
        )


def named(service: Mapping[str, Any], namespace: str = DEFAULT_NAMESPACE) -> Manifest:
    """An InferenceService as the API server would keep it: with a name and a namespace."""
    if not isinstance(service.get("spec"), Mapping):
        raise InputError("the InferenceService has no spec")
    metadata = mapping_at(service, "metadata")
    _check_texts("the InferenceService's", metadata)
    read = Metadata.read(metadata)
    own = {"name": read.name or "service", "namespace": read.namespace or namespace}
    return {**service, "metadata": {**metadata, **own}}


def offline_scenario(
    service: Manifest, nodes: Sequence[Any], override: ModelOverride, settings: Settings, cache: Manifest | None = None
) -> Scenario:
    """A service nobody has applied yet, on nodes that nobody uses as far as is known; what it waits for beside GPUs,
    weights and ssh keys, is there."""
    names = frozenset(_node_name(index, node) for index, node in enumerate(nodes))
    if len(names) < len(nodes):
        raise InputError("two of the nodes have the same name")
    children: dict[str, dict[str, Manifest]] = {kind: {} for kind in CHILD_KINDS} | {JOB: done_keys(service)}
    caches, spec = ready_caches(service, cache), InferenceService.read(service).spec
    if spec.model.source:
        children[CACHE_KIND] = caches
    return Scenario(
        service=service,
        pool=new_pool(spec.resources.pool or DEFAULT_POOL),
        gpu_nodes=read_nodes(nodes, settings),
        nodes=names,
        override=override,
        children=children,
        caches=caches,
    )


def new_pool(name: str) -> Manifest:
    """A pool over all nodes and for all namespaces."""
    return {"metadata": {"name": name, "uid": "planned"}, "spec": {}}


def read_nodes(nodes: Iterable[Mapping[str, Any]], settings: Settings) -> dict[str, Manifest]:
    """The GPUNodes of the Nodes among them that have AMD GPUs, as the operator makes them."""
    found: dict[str, Manifest] = {}
    for node in nodes:
        parts = {part: dict(mapping_at(node, part)) for part in ("metadata", "spec", "status")}
        for attachment in decorate(DecorateRequest(object=Parent(**parts)), settings).attachments:
            found[Object.read(attachment).metadata.name] = attachment
    return found


def ready_caches(service: Manifest, given: Manifest | None) -> dict[str, Manifest]:
    """The ModelCache that a service means, ready with its weights; what is known of the model is what `given` says."""
    read = InferenceService.read(service)
    source, namespace = read.spec.model.source, read.metadata.namespace
    name = cache_child_name(read.metadata.name) if source else read.spec.storage.model_cache
    if not name:
        return {}
    content = {"source": parse_source(source)} if source else {}
    base = given or {"apiVersion": API_VERSION, "kind": "ModelCache", "spec": content}
    status = {"path": name, "claimName": f"{name}-cache"} | dict(mapping_at(base, "status"))
    status |= {"phase": "Ready", "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {**mapping_at(base, "metadata"), "name": name, "namespace": namespace}
    return {f"{namespace}/{name}": {**base, "metadata": metadata, "status": status}}


def done_keys(service: Manifest) -> dict[str, Manifest]:
    """The Job that makes the ssh keys of a service that mpirun starts, complete."""
    metadata = Object.read(service).metadata
    own = {"name": keys_name(metadata.name), "namespace": metadata.namespace}
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": own, "status": status}
    return {f"{own['namespace']}/{own['name']}": job}


def _node_name(index: int, node: Any) -> str:
    name = text_at(node, "metadata", "name")
    if not name:
        raise InputError(f"nodes[{index}] is no Node: it has no metadata.name")
    _check_texts(f"node {name}'s", mapping_at(node, "metadata"))
    return name


def _check_texts(whose: str, metadata: Mapping[str, Any]) -> None:
    """What an API server would never keep."""
    for key in ("labels", "annotations"):
        found = metadata.get(key) or {}
        if not isinstance(found, Mapping) or not all(isinstance(it, str) for it in found.values()):
            raise InputError(f"{whose} metadata.{key} must be names with texts")
