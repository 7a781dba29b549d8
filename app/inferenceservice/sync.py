"""The three hooks of InferenceService, each a composition of the stages."""

from __future__ import annotations

from datetime import datetime

from app.api.schema import API_VERSION
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.inferenceservice.children import build_children
from app.inferenceservice.children.access import rebuild_grants
from app.inferenceservice.children.workload import build_today
from app.inferenceservice.facts import gather_facts
from app.inferenceservice.plan import Blocked, Wait, plan_service
from app.inferenceservice.status import build_status
from app.kube.conditions import with_times
from app.kube.conflict import conflict_condition, managed, unmanaged_finding
from app.kube.lenient import count_at, text_at
from app.kube.names import CACHE_LABEL, LINE_IS_FULL, LINE_LABEL, label_value
from app.metacontroller.keep import RefusedSpecError, finalize_immediately, keep_last_applied, read_spec
from app.metacontroller.protocol import CustomizeResponse, Parent, RelatedRule, SyncRequest, SyncResponse, sooner
from app.settings import Settings


def sync(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
    """Desired children and status of one InferenceService."""
    try:
        spec = read_spec(InferenceServiceSpec, request.parent)
    except RefusedSpecError as refused:
        rebuild = rebuild_grants(request.parent.name, settings.client_namespaces)
        return keep_last_applied(request, refused.finding, now, "Ready", _held_phase(request.parent), rebuild)
    facts = gather_facts(request, spec, settings, now)
    plan = plan_service(facts)
    today = build_today(plan, facts)
    wanted = build_children(plan, facts, today)
    children = managed(wanted, request.manages)
    conflict, conflict_retry = conflict_condition(children, request.child, request.parent.conditions, now)
    status, conditions = build_status(plan, facts, today, unmanaged_finding(wanted, request.manages), conflict)
    status["conditions"] = with_times(conditions, request.parent.conditions, now)
    retry = plan.finding.retry_seconds if isinstance(plan, Wait | Blocked) else 0.0
    return SyncResponse(status=status, children=children, resync_after_seconds=sooner(retry, conflict_retry))


def finalize(request: SyncRequest) -> SyncResponse:
    """Children go by their owner references."""
    return finalize_immediately(request, rebuild_grants(request.parent.name, ()))


def customize(parent: Parent) -> CustomizeResponse:
    """The GPUAllocation of this service, its namespace's notices, and the one ModelCache that the spec names."""
    wanted = {"gpuallocations": parent.name, "modelcaches": text_at(parent.spec, "storage", "modelCache")}
    rules = [
        RelatedRule(api_version=API_VERSION, resource=resource, namespace=parent.namespace, names=[name])
        for resource, name in wanted.items()
        if name
    ]
    return CustomizeResponse(related_resources=[*rules, _line(parent), *_neighbours(parent)])


def _line(parent: Parent) -> RelatedRule:
    """What pools say of the services of the namespace that wait."""
    selector = {"matchLabels": {LINE_LABEL: LINE_IS_FULL}}
    return RelatedRule(
        api_version=API_VERSION, resource="gpuallocations", namespace=parent.namespace, label_selector=selector
    )


def _neighbours(parent: Parent) -> list[RelatedRule]:
    """What other services of the same ModelCache ask of their pools, and where their pods are."""
    cache = text_at(parent.spec, "storage", "modelCache")
    selector = {"matchLabels": {CACHE_LABEL: label_value(cache)}}
    rule = RelatedRule(
        api_version=API_VERSION, resource="gpurequests", namespace=parent.namespace, label_selector=selector
    )
    return [rule] if cache else []


def _held_phase(parent: Parent) -> str:
    """What ran before goes on."""
    return "Degraded" if count_at(parent.status, "readyReplicas") else "Failed"
