"""GPUs that were granted to pods which do not come, because a quota or an admission policy keeps them out.

After GIVE_BACK_SECONDS without a pod its GPUs are given back. They are granted again as soon as the pod exists: its
workload goes on trying to make it. Without a pod they are tried again only after a delay that doubles each time, behind
everybody else in line, so that one service cannot hold a pool for pods that are never made.

The clock is kept in the allocation (`awaitingSince`), runs over edits of the service, and counts only while the agent
is alive and has reported on the service: whoever looks away must not take a pod for absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from app.api.v1alpha1.gpuallocation import GivenBack, GPUAllocation
from app.api.v1alpha1.gpurequest import GPURequestStatus
from app.api.v1alpha1.places import MOST_PLACES, Slot
from app.kube.conditions import format_time, parse_time
from app.kube.manifest import emit
from app.scheduling.request import BoundPod, Decision, ExistingAllocation, PlacementRequest

GIVE_BACK_SECONDS = 600.0
LONGEST_DELAY = 6 * 3600.0


def find_arrived(status: GPURequestStatus, bound: Iterable[BoundPod], pods: int, groups: int) -> frozenset[Slot]:
    """Pods that exist: those with a node, and those that the agent counts by group, or by number where nobody has
    numbered them yet; the latter are the first that are missing."""
    arrived = {(pod.group, pod.worker) for pod in bound}
    for entry in status.unbound:
        group = min(entry.group, MOST_PLACES)
        absent = [(group, worker) for worker in range(pods) if (group, worker) not in arrived]
        arrived.update(absent[: entry.pods])
    unnumbered = status.unnumbered or 0
    for group in range(groups):
        if unnumbered <= 0:
            break
        absent = [(group, worker) for worker in range(pods) if (group, worker) not in arrived]
        arrived.update(absent[:unnumbered])
        unnumbered -= len(absent)
    return frozenset(arrived)


def is_watched(status: GPURequestStatus, alive: bool) -> bool:
    """Whether the agent would tell if a pod were there."""
    return alive and status.groups is not None


def is_overdue(status: GPURequestStatus, allocation: GPUAllocation | None, alive: bool, now: datetime) -> bool:
    since = _awaiting_since(allocation)
    waited = since is not None and (now - since).total_seconds() >= GIVE_BACK_SECONDS
    return waited and is_watched(status, alive)


def _awaiting_since(allocation: GPUAllocation | None) -> datetime | None:
    return parse_time(allocation.spec.awaiting_since) if allocation and allocation.spec.awaiting_since else None


def find_retry(given_back: GivenBack | None) -> datetime | None:
    """When what was given back is tried again, None when nothing was."""
    at = parse_time(given_back.at) if given_back else None
    if given_back is None or at is None:
        return None
    doublings = max(0, min(given_back.times - 1, 16))
    return at + timedelta(seconds=min(GIVE_BACK_SECONDS * 2**doublings, LONGEST_DELAY))


def with_arrivals(
    spec: Mapping[str, Any],
    decision: Decision,
    need: PlacementRequest,
    held: ExistingAllocation | None,
    before: GPUAllocation | None,
    now: datetime,
    watched: bool,
) -> dict[str, Any]:
    """The spec of an allocation with what it says of pods that do not come."""
    plain = {key: value for key, value in spec.items() if key not in ("awaitingSince", "givenBack")}
    waits_as_before = held is not None and held.digest != need.digest and not decision.hosts
    granted = held.hosts if held and waits_as_before else decision.hosts
    absent = granted.keys() - need.arrived
    earlier = before.spec.given_back if before else None
    if decision.given_back:
        return plain | {"givenBack": emit(_given_back(decision, earlier.times + 1 if earlier else 1, now))}
    since = before.spec.awaiting_since if before else None
    if not since and watched and absent - decision.proposed:
        since = format_time(now)
    missing = bool(absent) or decision.groups < need.target
    return (
        plain
        | ({"awaitingSince": since} if since and absent else {})
        | ({"givenBack": emit(earlier)} if earlier and missing else {})
    )


def _given_back(decision: Decision, times: int, now: datetime) -> GivenBack:
    given_back = GivenBack(pods=decision.given_back, at=format_time(now), times=times)
    retry = find_retry(given_back)
    pods = "1 pod" if decision.given_back == 1 else f"{decision.given_back} pods"
    message = (
        f"The GPUs of {pods} were given back, because the pods did not come within {GIVE_BACK_SECONDS / 60:.0f} "
        "minutes: look for a ResourceQuota or an admission policy that refuses them. They are granted again once the "
        f"pods exist, and are tried again after {format_time(retry or now)}."
    )
    return given_back.model_copy(update={"message": message})
