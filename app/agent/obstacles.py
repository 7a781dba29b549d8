"""What only events say of a service's pods: which are not made, and which wait for a volume.

    a pod of a LeaderWorkerSet is not made   FailedCreate of the StatefulSet, or of the LeaderWorkerSet itself
    a claim has no volume                    ProvisioningFailed, FailedBinding; while the pod has no node
    a volume does not come to the node       FailedAttachVolume (Multi-Attach), FailedMount; once it has one
    a server does not get on                 Unhealthy, while the pod runs and is not ready

What keeps a Deployment from making pods stands in its own status, which the hook reads. A node is given only to a pod
whose claims are bound, so events of claims are over by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from app.agent.events import find_recent, find_texts, to_seconds
from app.agent.failure import Failure, PodReason, advised, build_volume_failure, find_probe_failure
from app.agent.snapshot import GroupPod, Pod, Request, Subject, Warned, Warnings
from app.kube.conditions import parse_time
from app.kube.refusal import find_refusal

PROBE_SECONDS = 60
"""Kubelet tells of failures before it calls a pod not ready: a probe fails three times first."""


@dataclass(frozen=True)
class Missing:
    """A pod that is not made."""

    name: str
    group: int
    worker: int
    failure: Failure


def find_failure_now(pod: Pod, member: GroupPod, warned: Warnings) -> Failure | None:
    """Why a pod is not ready: its own status, and what events add to it while the pod waits for its volumes, or runs
    and fails its readiness probe."""
    own = member.failure
    if own is None and member.started_at and not member.ready:
        return _find_unhealthy(pod, member, warned)
    if not member.waits or member.gate is not None or (own and own.reason is not PodReason.VOLUME):
        return own
    told = find_volume_texts(pod, member, warned)
    if not told:
        return own
    said = "; ".join(text.rstrip(". ") for text in told)
    start = "The scheduler finds no node" if own else "A volume is missing"
    return build_volume_failure(start, said)


def _find_unhealthy(pod: Pod, member: GroupPod, warned: Warnings) -> Failure | None:
    """What its readiness probe has said last, since it fails."""
    since = to_seconds(parse_time(member.ready_at)) - PROBE_SECONDS
    events = find_recent(warned, (pod.namespace, "Pod", pod.name), pod.uid, since)
    return next((failure for it in reversed(events) if (failure := find_probe_failure(it.text))), None)


def find_volume_texts(pod: Pod, member: GroupPod, warned: Warnings) -> Sequence[str]:
    """What events say of the volumes of a pod that waits. What was said of a claim before the pod was made may be over,
    for the claim may be bound since; the scheduler knows."""
    if pod.node:
        return find_texts(warned, (pod.namespace, "Pod", pod.name), pod.uid)
    since = 0 if member.failure else to_seconds(parse_time(member.created))
    subjects = ((claim, (pod.namespace, "PersistentVolumeClaim", claim)) for claim in member.claims)
    return [
        f"PersistentVolumeClaim {claim}: {text}"
        for claim, it in subjects
        for text in find_texts(warned, it, since=since)
    ]


_POD = re.compile(r"\b[Cc]reate Pod (?P<pod>\S+) in StatefulSet (?P<set>\S+) failed error: (?P<said>.+)")
_LEADERS = re.compile(r"Failed to create leader statefulset (?P<set>\S+): (?P<said>.+)")
_WORKERS = re.compile(r"Failed to create worker statefulset for leader pod (?P<pod>\S+): (?P<said>.+)")


def find_missing(request: Request, pods: Sequence[Pod], warned: Warnings) -> Mapping[str, Missing]:
    """Pods of a LeaderWorkerSet that are not made, by name. An event is over once its pod is there, or no longer asked
    for; those of an earlier service of this name are over, too."""
    recent = partial(find_recent, warned, since=to_seconds(request.created))
    leaders = {pod.name: pod.member.group for pod in pods if pod.member and not pod.member.worker}
    groups = {name: group for name, group in leaders.items() if group is not None}
    found = [
        *_of_leader_worker_set(request, pods, groups, recent((request.namespace, "LeaderWorkerSet", request.name))),
        *_of_set(request.name, None, recent((request.namespace, "StatefulSet", request.name))),
        *(it for name, group in groups.items() for it in _of_set(name, group, recent(_set(request, name)))),
    ]
    there = {pod.name for pod in pods}
    return {it.name: it for it in found if it.name not in there and it.group < request.most}


def _set(request: Request, name: str) -> Subject:
    return (request.namespace, "StatefulSet", name)


def _of_set(name: str, group: int | None, events: Sequence[Warned]) -> Iterator[Missing]:
    """The StatefulSet of leaders has their groups as numbers, that of one group its workers."""
    for event in events:
        said = _POD.search(event.text)
        number = said["pod"].removeprefix(f"{name}-") if said and said["set"] == name else ""
        if said and number.isdecimal() and len(number) < 6:
            place = (int(number), 0) if group is None else (group, int(number))
            yield Missing(said["pod"], *place, _refused(f"StatefulSet {name} cannot make pod {said['pod']}", said))


def _of_leader_worker_set(
    request: Request, pods: Sequence[Pod], groups: Mapping[str, int], events: Sequence[Warned]
) -> Iterator[Missing]:
    """LWS says itself what keeps it from making a StatefulSet."""
    with_workers = {pod.member.group for pod in pods if pod.member and pod.member.worker}
    for event in events:
        if (said := _LEADERS.search(event.text)) and not pods:
            start = f"LeaderWorkerSet {request.name} cannot make the StatefulSet of its leaders"
            yield Missing(f"{request.name}-0", 0, 0, _refused(start, said))
        elif (said := _WORKERS.search(event.text)) and groups.get(said["pod"], -1) not in {-1, *with_workers}:
            start = f"LeaderWorkerSet {request.name} cannot make the StatefulSet of the workers of {said['pod']}"
            yield Missing(f"{said['pod']}-1", groups[said["pod"]], 1, _refused(start, said))


def _refused(start: str, said: re.Match[str]) -> Failure:
    remedy = find_refusal(said["said"])
    return Failure(PodReason.NOT_CREATED, remedy.error, advised(start, said["said"], remedy.advice))
