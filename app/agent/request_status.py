"""What became of each service's pods: where they are bound, why they are not ready, how long loading took
-> GPURequest.status.

    loadSeconds = leader's Ready transition - start of its container
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from app.agent.failure import Failure, PodReason
from app.agent.groups import assign_groups, parse_earlier
from app.agent.obstacles import find_failure_now, find_missing
from app.agent.patch import Patch, Target, plan_statuses
from app.agent.snapshot import GroupPod, Json, Key, Pod, Request, Snapshot, Warnings
from app.api.v1alpha1.gpurequest import BoundPod, GPURequestStatus, PodFailure, UnboundPods
from app.kube.conditions import ErrorClass, format_time, later, parse_time
from app.kube.lenient import mappings_at, text_at, value_at

MOST_FAILURES = 8
UNKNOWN_GROUP = 1 << 31
"""Sorts behind every group."""


class Load(NamedTuple):
    """When a leader became ready, and how long that took."""

    at: datetime
    seconds: int

    @property
    def began(self) -> datetime:
        return later(self.at, -self.seconds)


def plan_requests(snapshot: Snapshot) -> list[Patch]:
    """Patches of the GPURequests whose status is not what their pods tell."""
    return plan_statuses(Target.GPU_REQUEST, snapshot.requests, partial(build_status, snapshot))


def build_status(snapshot: Snapshot, key: Key) -> GPURequestStatus:
    """The status of one GPURequest."""
    request, pods = snapshot.requests[key], snapshot.members[key]
    groups = assign_groups(pods, parse_earlier(request.status))
    load = find_load(pods, _parse_load(request.status))
    return GPURequestStatus(
        pool_exists=("", request.pool) in snapshot.pools,
        any_pool=bool(snapshot.pools),
        groups=count_groups(pods),
        pods=_bound(pods, groups),
        unbound=_unbound(pods),
        unnumbered=sum(member.group is None for member in _waiting(pods)) or None,
        failures=_failures(request, pods, groups, snapshot.warned),
        loaded_at=format_time(load.at) if load else None,
        load_seconds=load.seconds if load else None,
    )


def _members(pods: Sequence[Pod]) -> Iterator[tuple[Pod, GroupPod]]:
    return ((pod, pod.member) for pod in pods if pod.member)


def count_groups(pods: Sequence[Pod]) -> int:
    """Groups of which at least one pod is there and stays; a Deployment's pod is a group of its own."""
    staying = [(pod, member) for pod, member in _members(pods) if not pod.leaving and not pod.ended]
    return len({pod.name if member.group is None else member.group for pod, member in staying})


def _bound(pods: Sequence[Pod], groups: Mapping[str, int]) -> list[BoundPod]:
    found = [
        BoundPod(
            name=pod.name,
            group=groups[pod.name],
            worker=member.worker,
            node=pod.node,
            gpus=pod.total,
            resource=_resource(pod),
        )
        for pod, member in _members(pods)
        if pod.name in groups and pod.total
    ]
    return sorted(found, key=lambda pod: (pod.group, pod.worker, pod.name))


def _unbound(pods: Sequence[Pod]) -> list[UnboundPods]:
    """Pods that exist and wait for a node: what was granted to them is not given back."""
    waiting = Counter(member.group for member in _waiting(pods) if member.group is not None)
    return [UnboundPods(group=group, pods=count) for group, count in sorted(waiting.items())]


def _waiting(pods: Sequence[Pod]) -> Iterator[GroupPod]:
    return (member for pod, member in _members(pods) if not (pod.node or pod.leaving or pod.ended))


def _resource(pod: Pod) -> str:
    """A pod of ours asks for GPUs under one name; of several it is that of the most."""
    return max(pod.gpus, key=lambda demand: demand[1], default=("", 0))[0]


Rank = tuple[bool, int, int, str]


def _failures(
    request: Request, pods: Sequence[Pod], groups: Mapping[str, int], warned: Warnings | None
) -> list[PodFailure]:
    """Leaders first: they are what serves. Pods that leave are not waited for."""
    earlier = {(text_at(it, "pod"), text_at(it, "reason")): it for it in mappings_at(request.status, "failures")}
    found = [
        (_rank(pod, member, groups), _build_failure(pod.name, failure, earlier))
        for pod, member in _members(pods)
        if not pod.leaving and not _outlived(pod, pods) and (failure := _find_failure(pod, member, earlier, warned))
    ]
    missing = _missing(request, pods, warned) if warned is not None else _still_missing(request, pods)
    return [failure for _, failure in sorted([*found, *missing], key=lambda it: it[0])][:MOST_FAILURES]


def _find_failure(
    pod: Pod, member: GroupPod, earlier: Mapping[tuple[str, str], Json], warned: Warnings | None
) -> Failure | None:
    """While events are not known, what they told of a pod that is still not ready stands."""
    if warned is not None:
        return find_failure_now(pod, member, warned)
    told = PodReason.VOLUME if member.waits else PodReason.UNHEALTHY
    if member.ready or (pod.name, told) not in earlier:
        return member.failure
    own = member.failure or Failure(told, ErrorClass.EXTERNAL, "")
    return replace(own, vague=own.vague or own.reason is told)


def _missing(request: Request, pods: Sequence[Pod], warned: Warnings) -> Iterator[tuple[Rank, PodFailure]]:
    for name, it in find_missing(request, pods, warned).items():
        yield (it.worker > 0, it.group, it.worker, name), _build_failure(name, it.failure, {})


def _still_missing(request: Request, pods: Sequence[Pod]) -> Iterator[tuple[Rank, PodFailure]]:
    """While events are not known, what they told of pods that are not made stands until the pods are there."""
    there = {pod.name for pod in pods}
    for it in mappings_at(request.status, "failures"):
        name, reason = text_at(it, "pod"), text_at(it, "reason")
        numbers = name.removeprefix(f"{request.name}-").split("-")
        if reason == PodReason.NOT_CREATED and name not in there and all(map(str.isdecimal, numbers)):
            group, worker = int(numbers[0]), int(numbers[1]) if numbers[1:] else 0
            failure = PodFailure(pod=name, reason=reason, message=text_at(it, "message"), error=text_at(it, "error"))
            yield (worker > 0, group, worker, name), failure


def _rank(pod: Pod, member: GroupPod, groups: Mapping[str, int]) -> Rank:
    group = member.group if member.group is not None else groups.get(pod.name, UNKNOWN_GROUP)
    return (not member.leader, group, member.worker, pod.name)


def _outlived(pod: Pod, pods: Sequence[Pod]) -> bool:
    """A pod that ended says why until one that came later is ready: nobody else removes evicted pods."""
    created = pod.member.created if pod.member else ""
    return pod.ended and any(member.ready and member.created > created for _, member in _members(pods))


def _build_failure(pod: str, failure: Failure, earlier: Mapping[tuple[str, str], Json]) -> PodFailure:
    """A sentence without a cause does not replace one that had it."""
    before = earlier.get((pod, failure.reason), {}) if failure.vague else {}
    return PodFailure(
        pod=pod,
        reason=failure.reason,
        message=text_at(before, "message") or failure.message,
        error=text_at(before, "error") or failure.error,
    )


def find_load(pods: Sequence[Pod], earlier: Load | None) -> Load | None:
    """The load of a leader that has become ready since its container started.

    What was reported stands while that container runs, because a readiness probe that fails and recovers later moves
    the Ready time but loads nothing. Else it is the ready leader that became so last.
    """
    leaders = [member for pod, member in _members(pods) if member.leader and not pod.leaving and not pod.ended]
    if earlier and any(parse_time(member.started_at) == earlier.began for member in leaders):
        return earlier
    loads = [load for member in leaders if member.ready and (load := _load(member))]
    return max(loads, default=None)


def _load(member: GroupPod) -> Load | None:
    began, ready = parse_time(member.started_at), parse_time(member.ready_at)
    if began is None or ready is None or ready < began:
        return None
    return Load(ready, int((ready - began).total_seconds()))


def _parse_load(status: Json) -> Load | None:
    at, seconds = parse_time(text_at(status, "loadedAt")), value_at(status, "loadSeconds")
    return Load(at, seconds) if at and isinstance(seconds, int) else None
