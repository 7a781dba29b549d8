"""Objects of the API server -> the few facts that are kept of each. Lenient: what is misshapen reads as absent.

A pod that neither holds GPUs nor belongs to a service leaves nothing, a pod of somebody else only its node and its
GPUs: a cluster of many thousand pods costs a few megabytes. Facts are equal when nothing that matters has changed;
`version` orders the states of one object and is no part of that.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from app.agent.failure import ENDED, Failure, find_failure
from app.agent.pod_requests import PodRequests, parse_pod_requests
from app.api.v1alpha1.gpuallocation import GPUAllocationSpec, Phase
from app.api.v1alpha1.places import parse_places
from app.kube.conditions import find_condition, parse_time
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at, value_at
from app.kube.names import (
    GROUP_LABEL,
    HEARTBEAT_ANNOTATION,
    HOSTNAME_LABEL,
    LEADER,
    PLACEMENT_GATE,
    ROLE_LABEL,
    SERVICE_LABEL,
    workload_name,
)

LWS_GROUP_LABEL = "leaderworkerset.sigs.k8s.io/group-index"
LWS_WORKER_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"
HASH_LABEL = "pod-template-hash"
"""On pods of a Deployment: the end of their ReplicaSet's name."""

Key = tuple[str, str]
"""Namespace ("" for cluster-scoped kinds) and name."""
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CachedObject:
    """What all facts have: which object, and which of its states."""

    namespace: str
    name: str
    uid: str
    version: int = field(compare=False)
    """metadata.resourceVersion. They are ordered since Kubernetes 1.35, and were in etcd ever since."""

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class GroupPod:
    """What is kept of a pod that the workload of a service made."""

    service: str
    leader: bool
    created: str
    group: int | None
    """As LWS or the agent itself has labelled the pod; None: a Deployment's pod that nobody numbered."""
    worker: int
    gate: int | None
    """Place of our gate in spec.schedulingGates; None: not gated by us."""
    selects: bool
    """Whether spec.nodeSelector is there."""
    hostname: str
    """The host that spec.nodeSelector asks for, "" for none."""
    ready: bool
    ready_at: str
    started_at: str
    """Start of the first container, "" while it does not run."""
    failure: Failure | None
    refused: bool = False
    """The scheduler finds no node for it."""
    waits: bool = False
    """No container has been set up: its volumes may be missing."""
    claims: tuple[str, ...] = ()
    """PersistentVolumeClaims that it mounts, while it waits."""


@dataclass(frozen=True, slots=True)
class Pod(CachedObject):
    node: str
    """"" while it is not bound."""
    gpus: PodRequests
    ended: bool
    """Succeeded or Failed: holds nothing any more."""
    leaving: bool
    """Being deleted; holds its GPUs until it is gone."""
    member: GroupPod | None

    @property
    def total(self) -> int:
        """GPUs under all resource names."""
        return sum(count for _, count in self.gpus)


@dataclass(frozen=True, slots=True)
class Node(CachedObject):
    hostname: str


@dataclass(frozen=True, slots=True)
class GPUNode(CachedObject):
    ready: bool
    status: Json


@dataclass(frozen=True, slots=True)
class Request(CachedObject):
    pool: str
    digest: str
    status: Json
    created: datetime | None = None
    most: int = 0
    """Groups there may be."""


@dataclass(frozen=True, slots=True)
class Allocation(CachedObject):
    digest: str
    bound: bool
    places: Mapping[tuple[int, int], tuple[str, int]]
    """(group, worker) -> node and number of GPUs there."""
    status: Json


class Device(NamedTuple):
    """A GPU, or a partition of one that nodes offer like a GPU."""

    id: str
    """Its index on the node: gpu_id of the exporter."""
    serial: str
    """Serial number of the card, "" where it is not told."""


Devices = Mapping[str, Sequence[Device]]
"""By uid of the pod that holds them."""


@dataclass(frozen=True, slots=True)
class Exporter(CachedObject):
    """A pod of AMD's device-metrics-exporter."""

    node: str
    address: str
    """IP of the pod, "" while it does not run."""


@dataclass(frozen=True, slots=True)
class Pool(CachedObject):
    heartbeat: str


Subject = tuple[str, str, str]
"""What an event is about: namespace, kind and name."""


@dataclass(frozen=True, slots=True)
class Warned(CachedObject):
    """An event."""

    kind: str
    about: str
    """Name of the object of that kind, of the event's namespace."""
    uid_about: str
    """Its uid, "" where it is not told."""
    at: int = field(compare=False)
    """Seconds since 1970 when it was last seen: that it is seen again changes nothing."""
    text: str
    """Reason and message, without what varies."""

    @property
    def subject(self) -> Subject:
        return (self.namespace, self.kind, self.about)


Warnings = Mapping[Subject, Sequence[Warned]]
"""Events by what they are about, oldest first."""


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision depends on, but for the time."""

    pods: Mapping[Key, Pod]
    nodes: Mapping[Key, Node]
    gpu_nodes: Mapping[Key, GPUNode]
    requests: Mapping[Key, Request]
    allocations: Mapping[Key, Allocation]
    pools: Mapping[Key, Pool]
    devices: Devices = field(default_factory=dict)
    """What exporters have told."""
    warned: Warnings | None = None
    """What events tell; None: they are not known, or not yet."""

    @cached_property
    def members(self) -> Mapping[Key, list[Pod]]:
        """The pods of each service that a GPURequest speaks for, oldest first."""
        found: dict[Key, list[Pod]] = {key: [] for key in self.requests}
        for pod in self.pods.values():
            if pod.member and (owner := (pod.namespace, pod.member.service)) in found:
                found[owner].append(pod)
        for pods in found.values():
            pods.sort(key=by_age)
        return found


def by_age(pod: Pod) -> tuple[str, str]:
    return (pod.member.created if pod.member else "", pod.name)


def parse_identity(item: Json) -> tuple[str, str, str, int]:
    """The fields of CachedObject, in order."""
    version = text_at(item, "metadata", "resourceVersion")
    return (
        sys.intern(text_at(item, "metadata", "namespace")),
        text_at(item, "metadata", "name"),
        text_at(item, "metadata", "uid"),
        int(version) if version.isdecimal() else 0,
    )


def parse_pod(item: Json, gpu_resource: str) -> Pod | None:
    """The facts of a pod, None when it neither holds GPUs nor belongs to a service."""
    gpus = parse_pod_requests(item, gpu_resource)
    service = _service(item)
    node = text_at(item, "spec", "nodeName")
    ended = text_at(item, "status", "phase") in ENDED
    if not service and (not gpus or not node or ended):
        return None
    return Pod(
        *parse_identity(item),
        node=sys.intern(node),
        gpus=gpus,
        ended=ended,
        leaving="deletionTimestamp" in mapping_at(item, "metadata"),
        member=_member(item, service) if service else None,
    )


def _service(item: Json) -> str:
    """The service that the label names, "" unless its workload made the pod: whoever may create pods may label them.

    A Deployment's pods are controlled by its ReplicaSet, those of LWS by the StatefulSet of leaders or of one group's
    workers; LWS itself and leaders are the owners where another controller makes the groups. An owner that is not
    there makes the garbage collector remove the pod, and controllers let go of pods that are not theirs.
    """
    labels = mapping_at(item, "metadata", "labels")
    service, group = text_at(labels, SERVICE_LABEL), text_at(labels, LWS_GROUP_LABEL)
    makers = {
        "ReplicaSet": {f"{workload_name(service)}-{text_at(labels, HASH_LABEL)}"},
        "StatefulSet": {service, f"{service}-{group}"},
        "LeaderWorkerSet": {service},
        "Pod": {f"{service}-{group}"},
    }
    owners = (it for it in mappings_at(item, "metadata", "ownerReferences") if it.get("controller") is True)
    owned = any(text_at(it, "name") in makers.get(text_at(it, "kind"), ()) for it in owners)
    return service if owned else ""


def _member(item: Json, service: str) -> GroupPod:
    labels = mapping_at(item, "metadata", "labels")
    group = _index(labels.get(LWS_GROUP_LABEL))
    gates = [text_at(gate, "name") for gate in mappings_at(item, "spec", "schedulingGates")]
    selector = value_at(item, "spec", "nodeSelector")
    ready = next((it for it in mappings_at(item, "status", "conditions") if it.get("type") == "Ready"), {})
    return GroupPod(
        service=service,
        leader=labels.get(ROLE_LABEL) == LEADER,
        created=text_at(item, "metadata", "creationTimestamp"),
        group=_index(labels.get(GROUP_LABEL)) if group is None else group,
        worker=_index(labels.get(LWS_WORKER_LABEL)) or 0,
        gate=gates.index(PLACEMENT_GATE) if PLACEMENT_GATE in gates else None,
        selects=isinstance(selector, Mapping),
        hostname=text_at(selector, HOSTNAME_LABEL),
        ready=ready.get("status") == "True",
        ready_at=text_at(ready, "lastTransitionTime"),
        started_at=_started(item),
        failure=find_failure(item),
        refused=_is_refused(item),
        waits=(waits := is_waiting(item)),
        claims=find_claims(item) if waits else (),
    )


def _is_refused(item: Json) -> bool:
    scheduled = find_condition(mappings_at(item, "status", "conditions"), "PodScheduled")
    return scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"


_SETTING_UP = frozenset({"", "ContainerCreating", "PodInitializing"})


def is_waiting(item: Json) -> bool:
    """Whether a pod may still wait for volumes: of no container, init containers included, is more known."""
    kinds = ("initContainerStatuses", "containerStatuses")
    statuses = [it for kind in kinds for it in mappings_at(item, "status", kind)]
    begun = any(
        mapping_at(it, "state", "running")
        or mapping_at(it, "state", "terminated")
        or mapping_at(it, "lastState", "terminated")
        or text_at(it, "state", "waiting", "reason") not in _SETTING_UP
        for it in statuses
    )
    return text_at(item, "status", "phase") in ("", "Pending") and not begun


def find_claims(item: Json) -> tuple[str, ...]:
    """Names of the PersistentVolumeClaims that a pod mounts."""
    claims = (text_at(it, "persistentVolumeClaim", "claimName") for it in mappings_at(item, "spec", "volumes"))
    return tuple(claim for claim in claims if claim)


def _index(label: object) -> int | None:
    return int(label) if isinstance(label, str) and label.isdecimal() else None


def _started(item: Json) -> str:
    """The main container is the first of the spec; statuses come in any order."""
    main = next((text_at(it, "name") for it in mappings_at(item, "spec", "containers")), "")
    statuses = mappings_at(item, "status", "containerStatuses")
    return next((text_at(it, "state", "running", "startedAt") for it in statuses if it.get("name") == main), "")


def parse_node(item: Json) -> Node:
    return Node(*parse_identity(item), hostname=text_at(item, "metadata", "labels", HOSTNAME_LABEL))


def parse_gpu_node(item: Json) -> GPUNode:
    ready = not text_at(item, "spec", "notReadySince")
    return GPUNode(*parse_identity(item), ready=ready, status=mapping_at(item, "status"))


def parse_request(item: Json) -> Request:
    return Request(
        *parse_identity(item),
        pool=text_at(item, "spec", "pool"),
        digest=text_at(item, "spec", "digest"),
        status=mapping_at(item, "status"),
        created=parse_time(text_at(item, "metadata", "creationTimestamp")),
        most=count_at(item, "spec", "replicas", "max"),
    )


def parse_allocation(item: Json) -> Allocation:
    return Allocation(
        *parse_identity(item),
        digest=text_at(item, "spec", "digest"),
        bound=text_at(item, "spec", "phase") == Phase.BOUND,
        places=_places(mapping_at(item, "spec")),
        status=mapping_at(item, "status"),
    )


def _places(spec: Json) -> dict[tuple[int, int], tuple[str, int]]:
    """Certain places alone; another look must confirm the others first."""
    found = parse_places(GPUAllocationSpec.read(spec).gpus)
    return {slot: (place.node, place.gpus) for slot, place in found.items() if place.node and not place.proposed}


def parse_exporter(item: Json) -> Exporter:
    running = text_at(item, "status", "phase") == "Running"
    address = _parse_address(text_at(item, "status", "podIP")) if running else ""
    return Exporter(*parse_identity(item), node=text_at(item, "spec", "nodeName"), address=address)


def _parse_address(text: str) -> str:
    """An address that a pod can have, else "". A link-local one may be the cloud's own service."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if address.is_link_local or address.is_multicast or address.is_unspecified else str(address)


def parse_pool(item: Json) -> Pool:
    return Pool(*parse_identity(item), heartbeat=text_at(item, "metadata", "annotations", HEARTBEAT_ANNOTATION))
