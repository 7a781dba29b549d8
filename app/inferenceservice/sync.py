"""The three hooks of InferenceService, each a composition of the stages."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from app.crd import API_VERSION
from app.hold import hold, release
from app.hook import CustomizeResponse, Parent, RelatedRule, SyncRequest, SyncResponse
from app.inferenceservice.children import build_children
from app.inferenceservice.facts import Facts, Identity, find_model_facts
from app.inferenceservice.need import plan_need
from app.inferenceservice.observed import parse_observed
from app.inferenceservice.plan import Blocked, Wait, plan_service
from app.inferenceservice.spec import InferenceServiceSpec
from app.inferenceservice.status import build_status
from app.kube.conditions import with_times
from app.kube.conflict import conflict_condition, managed, unmanaged_finding
from app.kube.lenient import count_at, text_at
from app.kube.names import REPLAN_ANNOTATION
from app.settings import Settings

finalize = release


def sync(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
    """Desired children and status of one InferenceService."""
    try:
        spec = InferenceServiceSpec.model_validate(request.parent.spec)
    except ValidationError as error:
        return hold(request, error, now, "Ready", _held_phase(request.parent))
    observed = parse_observed(request, spec.storage.model_cache, makes_cache=spec.model.source is not None)
    need = plan_need(spec, find_model_facts(spec, observed), settings)
    facts = Facts(_identity(request.parent), spec, observed, settings, need, now)
    plan = plan_service(facts)
    wanted = build_children(plan, facts)
    children = managed(wanted, request.manages)
    conflict, conflict_retry = conflict_condition(children, request.child, request.parent.conditions, now)
    status, conditions = build_status(plan, facts, unmanaged_finding(wanted, request.manages), conflict)
    status["conditions"] = with_times(conditions, request.parent.conditions, now)
    retry = plan.finding.retry_seconds if isinstance(plan, Wait | Blocked) else 0.0
    return SyncResponse(status=status, children=children, resync_after_seconds=_sooner(retry, conflict_retry))


def customize(parent: Parent) -> CustomizeResponse:
    """The GPUAllocation of this service, and the one ModelCache that the spec names."""
    wanted = {"gpuallocations": parent.name, "modelcaches": text_at(parent.spec, "storage", "modelCache")}
    rules = [
        RelatedRule(api_version=API_VERSION, resource=resource, namespace=parent.namespace, names=[name])
        for resource, name in wanted.items()
        if name
    ]
    return CustomizeResponse(related_resources=rules)


def _identity(parent: Parent) -> Identity:
    labels = tuple(sorted(parent.labels.items()))
    replan, uid = parent.annotations.get(REPLAN_ANNOTATION, ""), str(parent.metadata.get("uid", ""))
    return Identity(parent.name, parent.namespace, labels, replan, uid)


def _held_phase(parent: Parent) -> str:
    """What ran before goes on."""
    return "Degraded" if count_at(parent.status, "readyReplicas") else "Failed"


def _sooner(*seconds: float) -> float:
    """The earliest of the retries asked for; 0 = none."""
    return min((second for second in seconds if second), default=0.0)
