"""A cluster -> the world of one service: what pool and reconciler see of it, read once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.cli.cluster import Cluster
from app.cli.errors import CliError
from app.cli.service import parse_service
from app.cli.world import Children, World, gpu_nodes_of, keyed
from app.crd import API_VERSION
from app.gpupool.spec import GPUPoolSpec
from app.hook import Parent
from app.inferenceservice.handshake import GPU_REQUEST
from app.inferenceservice.names import cache_child_name, deployment_name
from app.inferenceservice.observed import DEPLOYMENT, LEADER_WORKER_SET, MODEL_CACHE, SERVICE
from app.kube.lenient import mapping_at, value_at
from app.kube.manifest import Manifest
from app.settings import Settings

_OURS = f"/apis/{API_VERSION}"


def read_world(cluster: Cluster, service: Mapping[str, Any], settings: Settings, namespace: str) -> World:
    """Everything about a service that is written in a file, as it would be after `kubectl apply`."""
    given = value_at(service, "metadata", "namespace")
    parent, spec = parse_service(service, namespace or str(given or cluster.namespace))
    there = cluster.find(f"{_OURS}/namespaces/{parent.namespace}/inferenceservices/{parent.name}")
    if there:
        parent, spec = parse_service(_applied(parent, there), parent.namespace)
    pools = keyed(_list(cluster, "gpupools", "GPUPool"))
    pool = pools.get(spec.resources.pool)
    nodes, others, notes = _nodes(cluster, settings)
    return World(
        parent=parent,
        spec=spec,
        settings=settings,
        now=datetime.now(UTC),
        gpu_nodes=nodes,
        others=others,
        pool=Parent.model_validate(pool) if pool else None,
        pools=pools,
        namespaces=_namespaces(cluster, pool),
        requests=keyed(_list(cluster, "gpurequests", "GPURequest")),
        allocations=keyed(_list(cluster, "gpuallocations", "GPUAllocation")),
        children=_children(cluster, parent),
        caches=_caches(cluster, parent.namespace, spec.storage.model_cache),
        is_live=True,
        notes=notes,
    )


def _applied(parent: Parent, there: Manifest) -> Manifest:
    """The object after `kubectl apply`: labels and annotations of others stay, and so does the number of groups where
    the file gives none."""
    metadata = dict(mapping_at(there, "metadata"))
    for key, ours in (("labels", parent.labels), ("annotations", parent.annotations)):
        metadata[key] = {**mapping_at(there, "metadata", key), **ours}
    replicas = value_at(there, "spec", "replicas")
    spec = ({"replicas": replicas} if replicas is not None else {}) | parent.spec
    return {"metadata": metadata, "spec": spec, "status": there.get("status")}


def _list(cluster: Cluster, plural: str, kind: str) -> list[Manifest]:
    found = cluster.list(f"{_OURS}/{plural}", kind)
    if found is None:
        raise CliError(
            f"this cluster has no {plural}: install the operator, or give --nodes to plan without what is in use"
        )
    return found


def _nodes(cluster: Cluster, settings: Settings) -> tuple[tuple[Manifest, ...], int, tuple[str, ...]]:
    """GPUNodes as they are; where no operator made any, as it would make them of the Nodes."""
    made = tuple(_list(cluster, "gpunodes", "GPUNode"))
    try:
        nodes = cluster.list("/api/v1/nodes", "Node") or []
    except CliError:
        return made, 0, ("nodes that have no GPUs: this user may not list nodes",)
    if made or not nodes:
        return made, max(0, len(nodes) - len(made)), ()
    found, others = gpu_nodes_of(nodes, settings)
    return found, others, ("there are no GPUNodes: they were made of the nodes' labels for this plan",) if found else ()


def _namespaces(cluster: Cluster, pool: Manifest | None) -> dict[str, Manifest]:
    """Needed only where the pool chooses among them."""
    if pool is None or GPUPoolSpec.model_validate(pool.get("spec") or {}).namespace_selector == _ALL:
        return {}
    return keyed(cluster.list("/api/v1/namespaces", "Namespace") or [])


_ALL = GPUPoolSpec().namespace_selector


def _children(cluster: Cluster, parent: Parent) -> Children:
    """What a plan reads of the service's own objects; a kind that the cluster lacks is none that can be made."""
    name, home = parent.name, f"namespaces/{parent.namespace}"
    paths = {
        DEPLOYMENT: (f"/apis/apps/v1/{home}/deployments", deployment_name(name)),
        LEADER_WORKER_SET: (f"/apis/leaderworkerset.x-k8s.io/v1/{home}/leaderworkersets", name),
        SERVICE: (f"/api/v1/{home}/services", name),
        GPU_REQUEST: (f"{_OURS}/{home}/gpurequests", name),
        MODEL_CACHE: (f"{_OURS}/{home}/modelcaches", cache_child_name(name)),
    }
    found = {kind: _own(cluster, path, child, parent) for kind, (path, child) in paths.items()}
    if not found[LEADER_WORKER_SET] and cluster.find("/apis/leaderworkerset.x-k8s.io/v1") is None:
        del found[LEADER_WORKER_SET]
    return found


def _own(cluster: Cluster, path: str, name: str, parent: Parent) -> dict[str, Manifest]:
    """An object of the name that somebody else owns is no child."""
    item = cluster.find(f"{path}/{name}")
    owners = value_at(item, "metadata", "ownerReferences") or []
    uid = parent.metadata.get("uid")
    is_ours = uid is not None and any(isinstance(it, dict) and it.get("uid") == uid for it in owners)
    return {f"{parent.namespace}/{name}": item} if item and is_ours else {}


def _caches(cluster: Cluster, namespace: str, name: str | None) -> dict[str, Manifest]:
    found = cluster.find(f"{_OURS}/namespaces/{namespace}/modelcaches/{name}") if name else None
    return {f"{namespace}/{name}": found} if found else {}
