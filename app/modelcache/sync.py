"""The hooks of ModelCache."""

from __future__ import annotations

from datetime import datetime

from app.api.v1alpha1.modelcache import ModelCacheSpec, ModelCacheStatus, Phase
from app.kube.conflict import conflict_condition, managed, unmanaged_finding
from app.kube.names import REFRESH_ANNOTATION
from app.metacontroller.keep import RefusedSpecError, finalize_immediately, keep_last_applied, read_spec
from app.metacontroller.protocol import CustomizeResponse, Parent, RelatedRule, SyncRequest, SyncResponse, sooner
from app.modelcache.children import build_children
from app.modelcache.children.access import rebuild_grants
from app.modelcache.download import plan_download
from app.modelcache.facts import gather_facts
from app.modelcache.plan import plan_cache
from app.modelcache.status import build_status
from app.modelcache.volume import plan_volume
from app.settings import Settings


def sync(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
    """The desired children and status of a ModelCache."""
    try:
        spec = read_spec(ModelCacheSpec, request.parent)
    except RefusedSpecError as refused:
        return keep_last_applied(
            request, refused.finding, now, "Ready", _held_phase(request.parent), rebuild_grants(request)
        )
    return _apply(request, spec, settings, now)


def _apply(request: SyncRequest, spec: ModelCacheSpec, settings: Settings, now: datetime) -> SyncResponse:
    parent = request.parent
    download = plan_download(parent.name, spec, parent.annotations.get(REFRESH_ANNOTATION, ""))
    facts = gather_facts(request, spec, download, plan_volume(parent.name, spec), settings, now)
    plan = plan_cache(facts, settings)
    wanted = build_children(facts, plan, settings)
    children = managed(wanted, request.manages)
    conflict, look_again = conflict_condition(children, request.child, parent.conditions, now)
    blocked = unmanaged_finding(wanted, request.manages)
    status = build_status(facts, plan, blocked, conflict, parent.conditions, now)
    return SyncResponse(status=status, children=children, resync_after_seconds=sooner(look_again, plan.again_in))


def finalize(request: SyncRequest) -> SyncResponse:
    """Children go by their owner references."""
    return finalize_immediately(request, rebuild_grants(request))


def customize(parent: Parent) -> CustomizeResponse:
    """A ModelCache looks at its own children, and at the claim that its spec names."""
    name = ModelCacheSpec.read(parent.spec).existing_claim or ""
    rule = RelatedRule(api_version="v1", resource="persistentvolumeclaims", namespace=parent.namespace, names=[name])
    return CustomizeResponse(related_resources=[rule] if name else [])


def _held_phase(parent: Parent) -> Phase:
    """A model that could be read still can."""
    return Phase.READY if ModelCacheStatus.read(parent.status).phase is Phase.READY else Phase.FAILED
