"""Nodes for gated pods, by group and worker, from the Bound GPUAllocation of their service.

A pod that waits behind the gate may gain a nodeSelector; one patch adds it and lifts the gate, so the template stays
the same for ever and the kube-scheduler still checks everything else. Nothing is moved, and a pod stays gated while its
place is undecided, its node is gone or not ready, or its GPUs are not those that were granted there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.agent.groups import assign_groups, parse_earlier
from app.agent.patch import Patch, Target
from app.agent.snapshot import Allocation, GroupPod, Key, Pod, Snapshot
from app.apiserver import JSON_PATCH
from app.kube.names import GROUP_LABEL, HOSTNAME_LABEL, PLACEMENT_GATE

Operation = Mapping[str, Any]


def plan_ungates(snapshot: Snapshot) -> list[Patch]:
    """Patches of gated pods whose node is decided, services in order and pods oldest first."""
    return [patch for key in sorted(snapshot.requests) for patch in _plan_service(snapshot, key)]


def _plan_service(snapshot: Snapshot, key: Key) -> Iterator[Patch]:
    pods = snapshot.members[key]
    gated = [(pod, pod.member) for pod in pods if pod.member and pod.member.gate is not None and not pod.leaving]
    allocation = find_bound_allocation(snapshot, key) if gated else None
    if allocation is None:
        return
    free = _free_groups(snapshot, key, allocation)
    for pod, member in gated:
        numbered = member.group is not None
        group = member.group if numbered else next((it for it in free if _grants(allocation, it, member, pod)), None)
        if group is None or not _grants(allocation, group, member, pod):
            continue
        node, _ = allocation.places[group, member.worker]
        hostname = _find_hostname(snapshot, node)
        if not hostname or member.hostname not in ("", hostname):
            continue
        if not numbered:
            free.remove(group)
        yield Patch(
            target=Target.UNGATE,
            key=pod.key,
            body=build_operations(pod, member, hostname, None if numbered else group),
            content_type=JSON_PATCH,
            note={"group": group, "worker": member.worker, "node": node},
        )


def find_bound_allocation(snapshot: Snapshot, key: Key) -> Allocation | None:
    """The decision, None while there is none that is Bound.

    It may be about an earlier request, while a changed one waits: then the pods are of the earlier one, too.
    """
    allocation = snapshot.allocations.get(key)
    return allocation if allocation and allocation.bound else None


def _grants(allocation: Allocation, group: int, member: GroupPod, pod: Pod) -> bool:
    _, gpus = allocation.places.get((group, member.worker), ("", 0))
    return gpus > 0 and gpus == pod.total


def _free_groups(snapshot: Snapshot, key: Key, allocation: Allocation) -> list[int]:
    """Groups that no staying pod is, those whose GPUs a leaving pod still holds last."""
    pods = snapshot.members[key]
    groups = assign_groups(pods, parse_earlier(snapshot.requests[key].status))
    held: set[int] = set()
    leaving: set[int] = set()
    for pod in pods:
        group = pod.member.group if pod.member and pod.member.group is not None else groups.get(pod.name)
        if group is not None and not pod.ended:
            (leaving if pod.leaving else held).add(group)
    granted = {group for group, _ in allocation.places}
    return sorted(granted - held, key=lambda group: (group in leaving, group))


def _find_hostname(snapshot: Snapshot, node: str) -> str:
    """The host name by which a selector finds a node, "" while the node is gone or not ready."""
    found, gpus = snapshot.nodes.get(("", node)), snapshot.gpu_nodes.get(("", node))
    return found.hostname if found and (gpus is None or gpus.ready) else ""


def build_operations(pod: Pod, member: GroupPod, hostname: str, group: int | None) -> Sequence[Operation]:
    """A JSON patch that applies to this very pod behind this very gate, and to nothing else."""
    gate, selector = f"/spec/schedulingGates/{member.gate}", "/spec/nodeSelector"
    label = {"op": "add", "path": f"/metadata/labels/{_escaped(GROUP_LABEL)}", "value": str(group)}
    return [
        {"op": "test", "path": "/metadata/uid", "value": pod.uid},
        {"op": "test", "path": f"{gate}/name", "value": PLACEMENT_GATE},
        *([] if member.selects else [{"op": "add", "path": selector, "value": {}}]),
        {"op": "add", "path": f"{selector}/{_escaped(HOSTNAME_LABEL)}", "value": hostname},
        *([] if group is None else [label]),
        {"op": "remove", "path": gate},
    ]


def _escaped(key: str) -> str:
    """A key as a step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
