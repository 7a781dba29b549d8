"""What a Node says, as the facts that are read. Heartbeats, images and system information are not among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from app.api.bounds import GROUP_GPUS
from app.api.v1alpha1.gpunode import Effect, Taint, is_gpu_resource, resource_mode
from app.kube.conditions import find_condition, parse_time
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.quantity import parse_quantity
from app.metacontroller.protocol import Parent

UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


@dataclass(frozen=True)
class OfferedResource:
    """GPUs that the device plugin offers under one resource name."""

    resource: str
    capacity: int
    """All GPUs that it found."""
    allocatable: int
    """Those of them that are healthy."""

    @property
    def mode(self) -> str | None:
        """The partition mode that the resource name tells."""
        return resource_mode(self.resource)


@dataclass(frozen=True)
class Node:
    """The facts of one Node."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    not_ready_since: str | None
    """RFC 3339; None while it is ready."""
    resources: tuple[OfferedResource, ...]


def observe(node: Parent, gpu_resource: str) -> Node:
    """The facts of a Node; `gpu_resource` is the name of GPUs beside AMD's own names."""
    return Node(
        name=node.name,
        labels={key: value for key, value in sorted(node.labels.items()) if isinstance(value, str)},
        taints=tuple(sorted(_taints(node.spec), key=lambda taint: (taint.key, taint.value or "", taint.effect))),
        not_ready_since=_not_ready_since(node),
        resources=tuple(_offers(node.status, gpu_resource)),
    )


def _taints(spec: Mapping[str, Any]) -> set[Taint]:
    told = {
        Taint(key=text_at(taint, "key"), value=text_at(taint, "value") or None, effect=taint["effect"])
        for taint in mappings_at(spec, "taints")
        if taint.get("effect") in get_args(Effect)
    }
    return told | {UNSCHEDULABLE} if spec.get("unschedulable") is True else told


def _not_ready_since(node: Parent) -> str | None:
    """A node that has not reported yet counts from its creation; one without a creation is no live object."""
    ready = find_condition(node.conditions, "Ready")
    if ready.get("status") == "True":
        return None
    times = (text_at(ready, "lastTransitionTime"), text_at(node.metadata, "creationTimestamp"))
    return next((time for time in times if parse_time(time)), None)


def _offers(status: Mapping[str, Any] | None, gpu_resource: str) -> Iterator[OfferedResource]:
    """kubelet keeps a name that is no longer offered, with 0."""
    capacity, allocatable = mapping_at(status, "capacity"), mapping_at(status, "allocatable")
    for name in sorted({*capacity, *allocatable}):
        if is_gpu_resource(name, gpu_resource):
            usable = _count(allocatable.get(name))
            found = max(_count(capacity.get(name)), usable)
            if found:
                yield OfferedResource(name, found, usable)


def _count(value: Any) -> int:
    try:
        return min(int(parse_quantity(str(value))), GROUP_GPUS)
    except ValueError:
        return 0
