"""GPUNodes, GPURequests, GPUAllocations and the other pools -> the values that the allocator reads. Lenient."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from app.api.schema import API_VERSION
from app.api.v1alpha1.gpuallocation import NodeRequirement
from app.api.v1alpha1.gpunode import UNKNOWN_PARTITION
from app.api.v1alpha1.gpupool import GPUPoolSpec, to_requirements, to_selector
from app.api.v1alpha1.gpupool import Selector as NodeSelector
from app.api.v1alpha1.places import MOST_PLACES, parse_places
from app.gpupool.arrivals import find_arrived, find_retry, is_overdue
from app.gpupool.checks import find_fault
from app.gpupool.limits import Limit, find_limit
from app.kube.conditions import parse_time
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at, value_at
from app.kube.manifest import Manifest
from app.kube.names import HEARTBEAT_ANNOTATION
from app.kube.selectors import Selector
from app.metacontroller.protocol import SyncRequest
from app.scheduling.nodes import Node, Taint, Toleration, Wish
from app.scheduling.request import BoundPod, Held, Need

NODE_KIND = f"GPUNode.{API_VERSION}"
REQUEST_KIND = f"GPURequest.{API_VERSION}"
ALLOCATION_KIND = f"GPUAllocation.{API_VERSION}"
POOL_KIND = f"GPUPool.{API_VERSION}"
NAMESPACE_KIND = "Namespace.v1"

STALE_SECONDS = 180.0
"""An agent that has been silent for longer is not believed: what other pods hold is unknown then."""


@dataclass(frozen=True)
class Observed:
    """One pool's world."""

    nodes: tuple[Node, ...]
    needs: tuple[Need, ...]
    held: Mapping[str, Held]
    requests: Mapping[str, Manifest]
    """GPURequests of this pool, by namespace/name."""
    allocations: Mapping[str, Manifest]
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
    asking = {
        key: found
        for key, found in sorted(related.get(REQUEST_KIND, {}).items())
        if text_at(found, "spec", "pool") == parent.name
    }
    allocations = dict(sorted(request.children.get(ALLOCATION_KIND, {}).items()))
    refused = frozenset(key for key in asking if not _is_welcome(key, spec, related.get(NAMESPACE_KIND, {})))
    faults = {key: fault for key, found in asking.items() if key not in refused and (fault := find_fault(found))}
    served = asking.keys() - refused - faults.keys()
    namespaces = related.get(NAMESPACE_KIND, {})
    elsewhere = _elsewhere(ours, served)
    limited = {key.partition("/")[0] for key in served} | elsewhere.keys()
    limits = {it: find_limit(spec, it, namespaces) for it in sorted(limited)}
    return Observed(
        nodes=tuple(it for node in ours for it in _offers(node, served, alive, now)),
        needs=tuple(
            _need(key, found, allocations.get(key), limits[key.partition("/")[0]], alive, now)
            for key, found in asking.items()
            if key in served
        ),
        held={key: held for key, found in allocations.items() if (held := _held(found))},
        requests=asking,
        allocations=allocations,
        refused=refused,
        faults=faults,
        limits=limits,
        notes={key: note for key in served if (note := _note(parent.name, key, asking[key], limits))},
        elsewhere=elsewhere,
        pool_nodes=to_requirements(spec.node_selector),
        silent=tuple(text_at(it, "metadata", "name") for it in ours if not mappings_at(it, "spec", "resources")),
        claimed=claimed,
        heartbeat_age=age,
    )


def _age(stamp: str, now: datetime) -> float | None:
    moment = parse_time(stamp)
    return None if moment is None else (now - moment).total_seconds()


def _own_nodes(request: SyncRequest, spec: GPUPoolSpec) -> tuple[list[Manifest], tuple[str, ...]]:
    """Nodes that the selector matches, less those that an older pool matches too."""
    selector = to_selector(spec.node_selector)
    older = [it for it in _other_pools(request) if _seniority(it) < _seniority({"metadata": request.parent.metadata})]
    selectors = [_selector_of(it) for it in older]
    matching = [
        node for _, node in sorted(request.related.get(NODE_KIND, {}).items()) if selector.matches(_labels(node))
    ]
    taken = {
        text_at(node, "metadata", "name") for node in matching if any(it.matches(_labels(node)) for it in selectors)
    }
    return [node for node in matching if text_at(node, "metadata", "name") not in taken], tuple(sorted(taken))


def _other_pools(request: SyncRequest) -> Iterator[Manifest]:
    own = request.parent.metadata.get("uid")
    return (it for it in request.related.get(POOL_KIND, {}).values() if value_at(it, "metadata", "uid") != own)


def _seniority(pool: Mapping[str, Any]) -> tuple[str, str]:
    return text_at(pool, "metadata", "creationTimestamp"), text_at(pool, "metadata", "uid")


def _selector_of(pool: Manifest) -> Selector:
    """Another pool's selector, whatever else of its spec can be read: what it granted stands while it cannot. A
    selector that cannot be read claims nothing."""
    try:
        return to_selector(NodeSelector.model_validate(value_at(pool, "spec", "nodeSelector") or {}))
    except ValueError:
        return Selector({"": ""})


def _labels(node: Manifest) -> Mapping[str, str]:
    return mapping_at(node, "spec", "labels")


def _is_welcome(key: str, spec: GPUPoolSpec, namespaces: Mapping[str, Manifest]) -> bool:
    selector = to_selector(spec.namespace_selector)
    if selector.is_empty:
        return True
    found = namespaces.get(key.partition("/")[0])
    return found is not None and selector.matches(mapping_at(found, "metadata", "labels"))


def _offers(node: Manifest, served: Set[str], alive: bool, now: datetime) -> Iterator[Node]:
    spec = mapping_at(node, "spec")
    since = parse_time(text_at(spec, "notReadySince"))
    foreign = _foreign(node, served) if alive and value_at(node, "status", "observed") is True else None
    domains = _domains(text_at(spec, "zone"), text_at(spec, "block"), text_at(spec, "rack"))
    for resource in mappings_at(spec, "resources"):
        name = text_at(resource, "name")
        yield Node(
            host=text_at(node, "metadata", "name"),
            resource=name,
            product=_product(text_at(spec, "product"), text_at(resource, "partition")),
            gpus=count_at(resource, "gpus"),
            installed=count_at(resource, "capacity"),
            memory_bytes=count_at(resource, "memoryBytes") or None,
            island=count_at(spec, "island"),
            domains=domains,
            labels=mapping_at(spec, "labels"),
            taints=tuple(
                Taint(text_at(it, "key"), text_at(it, "value"), text_at(it, "effect"))
                for it in mappings_at(spec, "taints")
            ),
            not_ready_seconds=None if since is None else max(0.0, (now - since).total_seconds()),
            foreign=None if foreign is None else foreign.get(name, 0),
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


def _foreign(node: Manifest, served: Set[str]) -> dict[str, int]:
    """GPUs by resource name that pods hold of no service that this pool serves."""
    held: dict[str, int] = {}
    for use in mappings_at(node, "status", "others"):
        held[text_at(use, "resource")] = held.get(text_at(use, "resource"), 0) + count_at(use, "gpus")
    for use in mappings_at(node, "status", "services"):
        if f"{text_at(use, 'namespace')}/{text_at(use, 'name')}" not in served:
            held[text_at(use, "resource")] = held.get(text_at(use, "resource"), 0) + count_at(use, "gpus")
    return held


def _elsewhere(nodes: Iterable[Manifest], served: Set[str]) -> dict[str, int]:
    held: Counter[str] = Counter()
    for node in nodes:
        for use in mappings_at(node, "status", "services"):
            if f"{text_at(use, 'namespace')}/{text_at(use, 'name')}" not in served:
                held[text_at(use, "namespace")] += count_at(use, "gpus")
    return held


def _note(pool: str, key: str, request: Manifest, limits: Mapping[str, Limit]) -> str:
    namespace = key.partition("/")[0]
    return limits[namespace].note(pool, namespace, count_at(request, "spec", "priority"))


def _need(key: str, request: Manifest, allocation: Manifest | None, limit: Limit, alive: bool, now: datetime) -> Need:
    spec = mapping_at(request, "spec")
    shapes = mappings_at(spec, "shapes")
    topology_aware, static = (text_at(spec, "strategy") == it for it in ("topology-aware", "static"))
    pods, bound = count_at(spec, "nodes"), tuple(_bound(it) for it in mappings_at(request, "status", "pods"))
    groups = count_at(spec, "replicas", "min")
    wanted = min(count_at(request, "status", "groups"), MOST_PLACES // pods)
    retry = find_retry(allocation)
    return Need(
        service=key,
        digest=text_at(spec, "digest"),
        wish=read_wish(spec),
        pods=pods,
        gpus=count_at(spec, "gpusPerNode"),
        least=groups,
        most=count_at(spec, "replicas", "max"),
        wanted=wanted,
        priority=limit.capped(count_at(spec, "priority")),
        created=text_at(request, "metadata", "creationTimestamp"),
        waited=_waited(allocation, now),
        exclusive=text_at(spec, "sharing") == "exclusive",
        apart=static,
        islands={text_at(it, "product"): count_at(it, "tensor") for it in shapes} if topology_aware else {},
        bound=bound,
        shared=_claim(key, text_at(spec, "claim")),
        quota=limit.gpus,
        arrived=find_arrived(request, bound, pods, max(groups, wanted)),
        overdue=is_overdue(request, allocation, alive, now),
        withheld=retry is not None and retry > now,
        last=retry is not None,
    )


def _claim(key: str, claim: str) -> str:
    """A claim of the service's own namespace, as namespace/name."""
    return f"{key.partition('/')[0]}/{claim}" if claim else ""


def read_wish(spec: Mapping[str, Any]) -> Wish:
    """What a GPURequest's spec asks of a node."""
    shapes = mappings_at(spec, "shapes")
    return Wish(
        resource=text_at(spec, "resource"),
        products=tuple(product for it in shapes if (product := text_at(it, "product"))),
        unfit=tuple((text_at(it, "product"), text_at(it, "reason")) for it in mappings_at(spec, "excluded")),
        labels=tuple(sorted((key, it) for key, it in mapping_at(spec, "nodeSelector").items() if isinstance(it, str))),
        tolerations=tuple(
            Toleration(
                text_at(it, "key"),
                text_at(it, "value") if text_at(it, "operator") == "Equal" else None,
                text_at(it, "effect"),
            )
            for it in mappings_at(spec, "tolerations")
        ),
    )


def waiting_since(allocation: Mapping[str, Any] | None) -> str:
    """Since when a service waits, by its allocation's own word."""
    spec = mapping_at(allocation, "spec")
    return text_at(spec, "waitingSince") or text_at(spec, "next", "waitingSince")


def _waited(allocation: Manifest | None, now: datetime) -> float:
    since = parse_time(waiting_since(allocation))
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _bound(pod: Mapping[str, Any]) -> BoundPod:
    return BoundPod(
        count_at(pod, "group"),
        count_at(pod, "worker"),
        text_at(pod, "node"),
        count_at(pod, "gpus"),
        text_at(pod, "resource"),
    )


def _held(allocation: Manifest) -> Held | None:
    spec = mapping_at(allocation, "spec")
    places = parse_places(spec)
    if not places:
        return None
    return Held(
        digest=text_at(spec, "digest"),
        product=text_at(spec, "product"),
        slots={slot: sys.intern(place.node) for slot, place in places.items()},
        gpus=next(iter(places.values())).gpus,
        proposed=frozenset(slot for slot, place in places.items() if place.proposed),
        created=text_at(allocation, "metadata", "creationTimestamp"),
        uid=text_at(allocation, "metadata", "uid"),
        resource=text_at(spec, "resource"),
        exclusive=value_at(spec, "exclusive") is True,
        waits="placeInLine" in spec or "waitingSince" in spec,
    )
