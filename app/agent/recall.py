"""Pods that were given a node and cannot have it any more.

A service without a gate is placed by the kube-scheduler, perhaps on GPUs that were promised to a gated pod in the same
moment. The pool sees what runs and decides about the gated pod anew, but its node selector was lifted into it for good.
Such a pod has not started anywhere, so nothing is lost when it is deleted: its workload makes it anew, and gated.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.agent.bind import find_bound
from app.agent.facts import Key, Member, Pod, World
from app.agent.patch import Patch, Target


def plan_recalls(world: World) -> list[Patch]:
    """Deletions of pods that wait for a node which their service's decision does not name any more."""
    return [recall for key in sorted(world.requests) for recall in _recall_service(world, key)]


def _recall_service(world: World, key: Key) -> Iterator[Patch]:
    stuck = [(pod, pod.member) for pod in world.members[key] if pod.member and _is_stuck(pod, pod.member)]
    allocation = find_bound(world, key) if stuck else None
    if allocation is None:
        return
    for pod, member in stuck:
        node, _ = allocation.places.get((member.group or 0, member.worker), ("", 0))
        granted = world.nodes.get(("", node))
        if granted and granted.hostname != member.hostname:
            yield Patch(
                target=Target.RECALL,
                key=pod.key,
                body={"preconditions": {"uid": pod.uid, "resourceVersion": str(pod.version)}},
                note=f"host={member.hostname} granted={granted.hostname}",
            )


def _is_stuck(pod: Pod, member: Member) -> bool:
    """No node, no gate any more, a host that we chose, and the scheduler's word that it cannot be had."""
    given = member.gate is None and bool(member.hostname) and member.group is not None
    return given and member.refused and not pod.node and not pod.leaving and not pod.ended
