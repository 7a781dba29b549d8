"""The hooks of GPUPool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from pydantic import ValidationError

from app.crd import API_VERSION
from app.gpupool.children import build_children
from app.gpupool.nameless import with_nameless
from app.gpupool.observed import STALE_SECONDS, Observed, observe
from app.gpupool.spec import GPUPoolSpec, to_selector
from app.gpupool.status import build_status
from app.hold import hold, release
from app.hook import CustomizeResponse, Parent, RelatedRule, SyncRequest, SyncResponse
from app.kube.duration import parse_duration
from app.settings import Settings
from app.topology.allocator import allocate
from app.topology.nodes import GONE_SECONDS
from app.topology.request import Decision, Outcome

finalize = release

_KINDS = ("gpunodes", "gpurequests", "gpupools")


def sync(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
    """A GPUAllocation for every GPURequest of the pool, and the pool's numbers."""
    try:
        spec = GPUPoolSpec.model_validate(request.parent.spec)
    except ValidationError as error:
        return hold(request, error, now, "Ready")
    observed = observe(request, spec, now)
    patience = parse_duration(spec.reserve_after)
    decided = allocate(observed.nodes, observed.needs, observed.held, patience)
    decisions = with_nameless(decided, observed.needs, observed.nodes, observed.silent, settings.declared_product_label)
    return SyncResponse(
        status=build_status(observed, decisions, request.parent.conditions, now),
        children=build_children(request.parent.name, decisions, observed, now),
        resync_after_seconds=min(_moments(observed, decisions, patience), default=0.0),
    )


def customize(parent: Parent) -> CustomizeResponse:
    """All nodes, requests and pools; namespaces only where the spec selects among them."""
    rules = [RelatedRule(api_version=API_VERSION, resource=resource) for resource in _KINDS]
    try:
        selective = not to_selector(GPUPoolSpec.model_validate(parent.spec).namespace_selector).is_empty
    except ValidationError:
        selective = False
    namespaces = [RelatedRule(api_version="v1", resource="namespaces")] if selective else []
    return CustomizeResponse(related_resources=rules + namespaces)


def _moments(observed: Observed, decisions: Mapping[str, Decision], patience: float) -> Iterator[float]:
    """Seconds until time alone changes the answer: a node counts as gone, patience ends, the agent counts as silent."""
    for node in observed.nodes:
        if node.not_ready_seconds is not None and not node.is_gone:
            yield GONE_SECONDS - node.not_ready_seconds + 1
    for need in observed.needs:
        if decisions[need.service].outcome is Outcome.PENDING and need.waited < patience:
            yield patience - need.waited + 1
    if observed.agent_is_alive and observed.heartbeat_age is not None:
        yield STALE_SECONDS - observed.heartbeat_age + 1
