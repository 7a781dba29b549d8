"""GPUNodes, GPURequests, GPUAllocations and the other pools -> the values that the allocator reads. Lenient."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from app.api.object import Metadata
from app.api.v1alpha1 import gpuallocation, gpunode, gpupool, gpurequest
from app.api.v1alpha1.gpuallocation import GPUAllocation, NodeRequirement
from app.api.v1alpha1.gpunode import UNKNOWN_PARTITION, ForeignUse, GPUNode, ServiceUse
from app.api.v1alpha1.gpupool import GPUPoolSpec, to_requirements, to_selector
from app.api.v1alpha1.gpupool import Selector as NodeSelector
from app.api.v1alpha1.gpurequest import BoundPod as ReportedPod
from app.api.v1alpha1.gpurequest import GPURequest, GPURequestSpec
from app.api.v1alpha1.places import MOST_PLACES, parse_places
from app.gpupool.arrivals import find_arrived, find_retry, is_overdue
from app.gpupool.checks import find_fault
from app.gpupool.limits import Limit, find_limit
from app.kube.conditions import parse_time
from app.kube.lenient import mapping_at, value_at
from app.kube.manifest import Manifest
from app.kube.names import HEARTBEAT_ANNOTATION
from app.kube.selectors import Selector
from app.metacontroller.protocol import SyncRequest
from app.scheduling.nodes import Node, NodeRequirements, Taint, Toleration
from app.scheduling.request import BoundPod, ExistingAllocation, PlacementRequest

NODE_KIND = gpunode.KIND.key
REQUEST_KIND = gpurequest.KIND.key
ALLOCATION_KIND = gpuallocation.KIND.key
POOL_KIND = gpupool.KIND.key
NAMESPACE_KIND = "Namespace.v1"

STALE_SECONDS = 180.0
"""An agent that has been silent for longer is not believed: what other pods hold is unknown then."""


@dataclass(frozen=True)
class Observed:
    """One pool's world."""

    nodes: tuple[Node, ...]
    placement_requests: tuple[PlacementRequest, ...]
    existing: Mapping[str, ExistingAllocation]
    requests: Mapping[str, GPURequest]
    """GPURequests of this pool, by namespace/name."""
    all_requests: Mapping[str, GPURequest]
    """Those of the other pools too."""
    allocations: Mapping[str, GPUAllocation]
    manifests: Mapping[str, Manifest]
    """The same GPUAllocations as JSON: what is kept is answered as it was applied."""
    refused: frozenset[str]
    """Services whose namespace may not use the pool."""
    faults: Mapping[str, str]
    """Requests that cannot be read, each with the reason."""
    limits: Mapping[str, Limit]
    """By namespace, of those with services here."""
    notes: Mapping[str, str]
    """What the pool's limits change of a request, in a sentence."""
    elsewhere: Mapping[str, int]
    """GPUs of these nodes by namespace that its services of other pools hold: they count towards its limit."""
    pool_nodes: Sequence[NodeRequirement]
    """What the pool's node selector asks for."""
    silent: tuple[str, ...]
    """Nodes of the pool that offer no GPUs at all, as without a device plugin."""
    claimed: tuple[str, ...]
    """Nodes that the selector matches and an older pool has."""
    heartbeat_age: float | None
    """Seconds since the agent's last sign; None = there was none."""

    @cached_property
    def memory(self) -> Mapping[str, Mapping[str, int | None]]:
        """Bytes of one GPU by resource name and node."""
        found: dict[str, dict[str, int | None]] = {}
        for node in self.nodes:
            found.setdefault(node.resource, {})[node.host] = node.memory_bytes
        return found

    @property
    def agent_is_alive(self) -> bool:
        return self.heartbeat_age is not None and self.heartbeat_age < STALE_SECONDS


def observe(request: SyncRequest, spec: GPUPoolSpec, now: datetime) -> Observed:
    """The facts of one sync."""
    parent, related = request.parent, request.related
    age = _age(parent.annotations.get(HEARTBEAT_ANNOTATION, ""), now)
    alive = age is not None and age < STALE_SECONDS
    ours, claimed = _own_nodes(request, spec)
    stored = related.get(REQUEST_KIND, {})
    requests = {key: GPURequest.read(found) for key, found in sorted(stored.items())}
    asking = {key: found for key, found in requests.items() if found.spec.pool == parent.name}
    manifests = dict(sorted(request.children.get(ALLOCATION_KIND, {}).items()))
    allocations = {key: GPUAllocation.read(found) for key, found in manifests.items()}
    namespaces = related.get(NAMESPACE_KIND, {})
    refused = frozenset(key for key in asking if not _is_welcome(key, spec, namespaces))
    faults = {key: fault for key in asking if key not in refused and (fault := find_fault(stored[key]))}
    served = asking.keys() - refused - faults.keys()
    elsewhere = _elsewhere(ours, served)
    limited = {key.partition("/")[0] for key in served} | elsewhere.keys()
    limits = {it: find_limit(spec, it, namespaces) for it in sorted(limited)}
    return Observed(
        nodes=tuple(it for node in ours for it in _offers(node, served, alive, now)),
        placement_requests=tuple(
            _need(key, found, allocations.get(key), limits[key.partition("/")[0]], alive, now)
            for key, found in asking.items()
            if key in served
        ),
        existing={key: held for key, found in allocations.items() if (held := _held(found))},
        requests=asking,
        all_requests=requests,
        allocations=allocations,
        manifests=manifests,
        refused=refused,
        faults=faults,
        limits=limits,
        notes={key: note for key in served if (note := _note(parent.name, key, asking[key], limits))},
        elsewhere=elsewhere,
        pool_nodes=to_requirements(spec.node_selector),
        silent=tuple(it.metadata.name for it in ours if not it.spec.resources),
        claimed=claimed,
        heartbeat_age=age,
    )


def _age(stamp: str, now: datetime) -> float | None:
    moment = parse_time(stamp)
    return None if moment is None else (now - moment).total_seconds()


def _own_nodes(request: SyncRequest, spec: GPUPoolSpec) -> tuple[list[GPUNode], tuple[str, ...]]:
    """Nodes that the selector matches, less those that an older pool matches too."""
    selector = to_selector(spec.node_selector)
    selectors = [_selector_of(it) for it in _older_pools(request)]
    nodes = [GPUNode.read(node) for _, node in sorted(request.related.get(NODE_KIND, {}).items())]
    matching = [node for node in nodes if selector.matches(node.spec.labels)]
    taken = {node.metadata.name for node in matching if any(it.matches(node.spec.labels) for it in selectors)}
    return [node for node in matching if node.metadata.name not in taken], tuple(sorted(taken))


def _older_pools(request: SyncRequest) -> Iterator[Manifest]:
    """As JSON: of a pool whose spec cannot be read the selector may be readable."""
    own = _seniority(request.parent.metadata)
    return (it for it in _other_pools(request) if _seniority(it.get("metadata")) < own)


def _other_pools(request: SyncRequest) -> Iterator[Manifest]:
    own = request.parent.metadata.get("uid")
    return (it for it in request.related.get(POOL_KIND, {}).values() if value_at(it, "metadata", "uid") != own)


def _seniority(metadata: object) -> tuple[str, str]:
    read = Metadata.read(metadata)
    return read.creation_timestamp, read.uid


def _selector_of(pool: Manifest) -> Selector:
    """Another pool's selector, whatever else of its spec can be read: what it granted stands while it cannot. A
    selector that cannot be read claims nothing."""
    try:
        return to_selector(NodeSelector.model_validate(value_at(pool, "spec", "nodeSelector") or {}))
    except ValueError:
        return Selector({"": ""})


def _is_welcome(key: str, spec: GPUPoolSpec, namespaces: Mapping[str, Manifest]) -> bool:
    selector = to_selector(spec.namespace_selector)
    if selector.is_empty:
        return True
    found = namespaces.get(key.partition("/")[0])
    return found is not None and selector.matches(mapping_at(found, "metadata", "labels"))


def _offers(node: GPUNode, served: Set[str], alive: bool, now: datetime) -> Iterator[Node]:
    spec = node.spec
    since = parse_time(spec.not_ready_since or "")
    foreign = _foreign(node, served) if alive and node.status.observed is True else None
    domains = _domains(spec.zone or "", spec.block or "", spec.rack or "")
    for resource in spec.resources:
        yield Node(
            host=node.metadata.name,
            resource=resource.name,
            product=_product(spec.product or "", resource.partition or ""),
            gpus=resource.gpus,
            capacity=resource.capacity or 0,
            memory_bytes=resource.memory_bytes or None,
            island=spec.island or 0,
            domains=domains,
            labels=spec.labels,
            taints=tuple(Taint(it.key, it.value or "", it.effect) for it in spec.taints),
            not_ready_seconds=None if since is None else max(0.0, (now - since).total_seconds()),
            unmanaged_usage=None if foreign is None else foreign.get(resource.name, 0),
        )


def _product(product: str, partition: str) -> str:
    """Key in the catalogue of what one unit of the resource is; contradicting signs make it unknown."""
    if partition == UNKNOWN_PARTITION:
        return ""
    whole = not partition or partition.startswith("spx")
    return product if whole or not product else f"{product}-{partition.upper().replace('_', '-')}"


def _domains(*names: str) -> tuple[str, ...]:
    """Each name with its parents', for racks of two blocks may have the same name."""
    return tuple("/".join(names[: level + 1]) if name else "" for level, name in enumerate(names))


def _foreign(node: GPUNode, served: Set[str]) -> Counter[str]:
    """GPUs by resource name that pods hold of no service that this pool serves."""
    held: Counter[str] = Counter()
    uses: list[ServiceUse | ForeignUse] = [*node.status.others, *_unserved(node, served)]
    for use in uses:
        held[use.resource] += use.gpus
    return held


def _unserved(node: GPUNode, served: Set[str]) -> Iterator[ServiceUse]:
    return (use for use in node.status.services if f"{use.namespace}/{use.name}" not in served)


def _elsewhere(nodes: Iterable[GPUNode], served: Set[str]) -> Counter[str]:
    held: Counter[str] = Counter()
    for node in nodes:
        for use in _unserved(node, served):
            held[use.namespace] += use.gpus
    return held


def _note(pool: str, key: str, request: GPURequest, limits: Mapping[str, Limit]) -> str:
    namespace = key.partition("/")[0]
    return limits[namespace].note(pool, namespace, request.spec.priority)


def _need(
    key: str, request: GPURequest, allocation: GPUAllocation | None, limit: Limit, alive: bool, now: datetime
) -> PlacementRequest:
    spec, status = request.spec, request.status
    bound = tuple(_bound(it) for it in status.pods)
    wanted = min(status.groups or 0, MOST_PLACES // spec.nodes)
    retry = find_retry(allocation.spec.given_back if allocation else None)
    return PlacementRequest(
        service=key,
        digest=spec.digest,
        requirements=to_node_requirements(spec),
        nodes=spec.nodes,
        gpus_per_node=spec.gpus_per_node,
        min_replicas=spec.replicas.min,
        max_replicas=spec.replicas.max,
        existing_replicas=wanted,
        priority=limit.capped(spec.priority),
        creation_timestamp=request.metadata.creation_timestamp,
        waiting_seconds=_waited(allocation, now),
        exclusive=spec.sharing == "exclusive",
        one_pod_per_node=spec.strategy == "static",
        islands={it.product or "": it.tensor for it in spec.shapes} if spec.strategy == "topology-aware" else {},
        bound_pods=bound,
        claim=_claim(key, spec.claim),
        quota=limit.gpus,
        arrived=find_arrived(status, bound, spec.nodes, max(spec.replicas.min, wanted)),
        overdue=is_overdue(status, allocation, alive, now),
        withheld=retry is not None and retry > now,
        last=retry is not None,
    )


def _claim(key: str, claim: str | None) -> str:
    """A claim of the service's own namespace, as namespace/name."""
    return f"{key.partition('/')[0]}/{claim}" if claim else ""


def to_node_requirements(spec: GPURequestSpec) -> NodeRequirements:
    """What a GPURequest's spec asks of a node."""
    return NodeRequirements(
        resource=spec.resource,
        products=tuple(it.product for it in spec.shapes if it.product),
        excluded=tuple((it.product, it.reason) for it in spec.excluded),
        node_selector=tuple(sorted(spec.node_selector.items())),
        tolerations=tuple(
            Toleration(it.key or "", (it.value or "") if it.operator == "Equal" else None, it.effect or "")
            for it in spec.tolerations
        ),
    )


def waiting_since(allocation: GPUAllocation | None) -> str:
    """Since when a service waits, by its allocation's own word."""
    if allocation is None:
        return ""
    following = allocation.spec.next
    return allocation.spec.waiting_since or (following.waiting_since if following else None) or ""


def _waited(allocation: GPUAllocation | None, now: datetime) -> float:
    since = parse_time(waiting_since(allocation))
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _bound(pod: ReportedPod) -> BoundPod:
    return BoundPod(pod.group, pod.worker, pod.node, pod.gpus, pod.resource)


def _held(allocation: GPUAllocation) -> ExistingAllocation | None:
    spec = allocation.spec
    places = parse_places(spec.gpus)
    if not places:
        return None
    return ExistingAllocation(
        digest=spec.digest,
        product=spec.product or "",
        hosts={slot: sys.intern(place.node) for slot, place in places.items()},
        gpus_per_node=next(iter(places.values())).gpus,
        proposed=frozenset(slot for slot, place in places.items() if place.proposed),
        creation_timestamp=allocation.metadata.creation_timestamp,
        uid=allocation.metadata.uid,
        resource=spec.resource or "",
        exclusive=spec.exclusive is True,
        is_waiting=spec.place_in_line is not None or spec.waiting_since is not None,
    )
