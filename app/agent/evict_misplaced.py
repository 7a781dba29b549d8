"""Pods that were given a node and cannot have it any more.

A service without a gate is placed by the kube-scheduler, perhaps on GPUs that were promised to a gated pod in the same
moment. The pool sees what runs and decides about the gated pod anew, but its node selector was lifted into it for good.
Such a pod has not started anywhere, so nothing is lost when it is deleted: its workload makes it anew, and gated.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.agent.patch import Patch, Target
from app.agent.snapshot import GroupPod, Key, Pod, Snapshot
from app.agent.ungate import find_bound_allocation


def plan_evictions(snapshot: Snapshot) -> list[Patch]:
    """Deletions of pods that wait for a node which their service's decision does not name any more."""
    return [eviction for key in sorted(snapshot.requests) for eviction in _evict_misplaced(snapshot, key)]


def _evict_misplaced(snapshot: Snapshot, key: Key) -> Iterator[Patch]:
    stuck = [(pod, pod.member) for pod in snapshot.members[key] if pod.member and _is_stuck(pod, pod.member)]
    allocation = find_bound_allocation(snapshot, key) if stuck else None
    if allocation is None:
        return
    for pod, member in stuck:
        node, _ = allocation.places.get((member.group or 0, member.worker), ("", 0))
        granted = snapshot.nodes.get(("", node))
        if granted and granted.hostname != member.hostname:
            yield Patch(
                target=Target.EVICT,
                key=pod.key,
                body={"preconditions": {"uid": pod.uid, "resourceVersion": str(pod.version)}},
                note={"host": member.hostname, "granted": granted.hostname},
            )


def _is_stuck(pod: Pod, member: GroupPod) -> bool:
    """No node, no gate any more, a host that we chose, and the scheduler's word that it cannot be had."""
    given = member.gate is None and bool(member.hostname) and member.group is not None
    return given and member.refused and not pod.node and not pod.leaving and not pod.ended
