"""The hooks of GPUPool."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from app.api.schema import API_VERSION
from app.api.v1alpha1.gpupool import GPUPoolSpec, GPUPoolStatus
from app.gpupool.arrivals import GIVE_BACK_SECONDS, find_retry
from app.gpupool.children import build_children
from app.gpupool.limits import is_selective
from app.gpupool.line import build_notices, find_answered
from app.gpupool.nameless import with_nameless
from app.gpupool.observe import STALE_SECONDS, Observed, observe
from app.gpupool.status import build_status
from app.gpupool.volumes import with_volumes
from app.kube.conditions import parse_time
from app.kube.duration import parse_duration
from app.metacontroller.keep import RefusedSpecError, finalize_immediately, keep_last_applied, read_spec
from app.metacontroller.protocol import CustomizeResponse, Parent, RelatedRule, SyncRequest, SyncResponse
from app.scheduling.nodes import LOST_SECONDS
from app.scheduling.request import Outcome
from app.scheduling.scheduler import Schedule, schedule
from app.settings import Settings

finalize = finalize_immediately

RESUME_SECONDS = 1.0
"""Until the next cycle, when there was too much work for one."""
_KINDS = ("gpunodes", "gpurequests", "gpupools")


def sync(request: SyncRequest, settings: Settings, now: datetime, asked: str = "") -> SyncResponse:
    """GPUAllocations for the GPURequests of the pool, and the pool's numbers. `asked` is a service that is answered in
    any case, however many there are."""
    try:
        spec = read_spec(GPUPoolSpec, request.parent)
    except RefusedSpecError as refused:
        return keep_last_applied(request, refused.finding, now, "Ready")
    observed = observe(request, spec, now)
    reserve_after = parse_duration(spec.reserve_after)
    found = schedule(
        observed.nodes,
        observed.placement_requests,
        observed.existing,
        reserve_after,
        resume=GPUPoolStatus.read(request.parent.status).resume or "",
        elsewhere=observed.elsewhere,
    )
    decisions = with_volumes(
        with_nameless(
            found.decisions,
            observed.placement_requests,
            observed.nodes,
            observed.silent,
            settings.declared_product_label,
        ),
        observed.placement_requests,
    )
    pool = request.parent.name
    answered = find_answered(observed, decisions, asked)
    notices = build_notices(pool, observed, decisions)
    unanswered = len(observed.requests.keys() - answered)
    return SyncResponse(
        status=build_status(spec, observed, found, request.parent.conditions, now, unanswered),
        children=build_children(pool, decisions, observed, answered, now) + notices,
        resync_after_seconds=RESUME_SECONDS
        if found.resume
        else min(_moments(observed, found, reserve_after, now), default=0.0),
    )


def customize(parent: Parent) -> CustomizeResponse:
    """All nodes, requests and pools; namespaces only where the spec selects among them."""
    rules = [RelatedRule(api_version=API_VERSION, resource=resource) for resource in _KINDS]
    try:
        selective = is_selective(read_spec(GPUPoolSpec, parent))
    except RefusedSpecError:
        selective = False
    namespaces = [RelatedRule(api_version="v1", resource="namespaces")] if selective else []
    return CustomizeResponse(related_resources=rules + namespaces)


def _moments(observed: Observed, found: Schedule, reserve_after: float, now: datetime) -> Iterator[float]:
    """Seconds until time alone changes the answer: a node counts as lost, reserveAfter ends, the agent counts as
    silent, GPUs are given back or tried again."""
    decisions = found.decisions
    if found.resume:
        yield RESUME_SECONDS
    yield from _arrival_moments(observed, now)
    for node in observed.nodes:
        if node.not_ready_seconds is not None and not node.is_lost:
            yield LOST_SECONDS - node.not_ready_seconds + 1
    for need in observed.placement_requests:
        if decisions[need.service].outcome is Outcome.PENDING and need.waiting_seconds < reserve_after:
            yield reserve_after - need.waiting_seconds + 1
    if observed.agent_is_alive and observed.heartbeat_age is not None:
        yield STALE_SECONDS - observed.heartbeat_age + 1


def _arrival_moments(observed: Observed, now: datetime) -> Iterator[float]:
    for allocation in observed.allocations.values():
        since, retry = parse_time(allocation.spec.awaiting_since or ""), find_retry(allocation.spec.given_back)
        if since and observed.agent_is_alive:
            yield max(1.0, GIVE_BACK_SECONDS - (now - since).total_seconds() + 1)
        if retry and retry > now:
            yield (retry - now).total_seconds() + 1
