"""The three hooks of InferenceEndpoint, each a composition of the stages."""

from __future__ import annotations

from datetime import datetime

from app.api.schema import API_VERSION
from app.api.v1alpha1.inferenceendpoint import InferenceEndpointSpec
from app.inferenceendpoint.checks import Facts
from app.inferenceendpoint.children import build_children
from app.inferenceendpoint.names import service_name
from app.inferenceendpoint.observe import INGRESS, observe
from app.inferenceendpoint.plan import plan_endpoint
from app.inferenceendpoint.status import AVAILABLE, build_status
from app.ingress.allowed import allow_ingress
from app.kube.conditions import with_times
from app.kube.conflict import conflict_condition, managed, unmanaged_finding
from app.metacontroller.keep import RefusedSpecError, finalize_immediately, keep_last_applied, read_spec
from app.metacontroller.protocol import CustomizeResponse, Parent, RelatedRule, SyncRequest, SyncResponse
from app.settings import Settings

finalize = finalize_immediately


def sync(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
    """Desired children and status of one InferenceEndpoint."""
    parent = request.parent
    try:
        spec = read_spec(InferenceEndpointSpec, parent)
    except RefusedSpecError as refused:
        return keep_last_applied(request, refused.finding, now, AVAILABLE)
    ingress = allow_ingress(spec.ingress, parent.namespace, settings, request.child(INGRESS, service_name(parent.name)))
    spec = spec.model_copy(update={"ingress": ingress.spec})
    facts = Facts(parent.name, parent.namespace, spec, observe(request, spec.service))
    plan = plan_endpoint(facts, ingress.notes)
    wanted = build_children(parent, spec)
    children = managed(wanted, request.manages)
    conflict, look_again = conflict_condition(children, request.child, parent.conditions, now)
    status, conditions = build_status(plan, spec, unmanaged_finding(wanted, request.manages), conflict)
    status["conditions"] = with_times(conditions, parent.conditions, now)
    return SyncResponse(status=status, children=children, resync_after_seconds=look_again)


def customize(parent: Parent) -> CustomizeResponse:
    """The one InferenceService that the spec names."""
    name = InferenceEndpointSpec.read(parent.spec).service
    if not name:
        return CustomizeResponse()
    rule = RelatedRule(api_version=API_VERSION, resource="inferenceservices", namespace=parent.namespace, names=[name])
    return CustomizeResponse(related_resources=[rule])
