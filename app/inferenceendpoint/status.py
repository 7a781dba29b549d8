"""Plan -> status: the endpoints with their URLs, and the conditions."""

from __future__ import annotations

from typing import Any

from app.api.v1alpha1.inferenceendpoint import InferenceEndpointSpec
from app.inferenceendpoint.checks import PERIOD, TIMEOUT
from app.inferenceendpoint.plan import Plan, PortPlan
from app.kube.conditions import Condition, ErrorClass, Finding, Reason, Status, listed

AVAILABLE = "Available"


def build_status(
    plan: Plan, spec: InferenceEndpointSpec, unmanaged: Finding | None, conflict: Condition
) -> tuple[dict[str, Any], list[Condition]]:
    """Status without conditions, and the conditions without their times."""
    urls = [port.url for port in plan.ports if port.url]
    status = {"endpoints": [_entry(port) for port in plan.ports]} | ({"url": urls[0]} if urls else {})
    return status, [_available(plan, spec, unmanaged, conflict), _routing(plan), conflict]


def _entry(port: PortPlan) -> dict[str, str]:
    entry = {"name": port.name, "url": port.url, "status": port.state.value, "message": port.message}
    return {key: value for key, value in entry.items() if value}


def _available(plan: Plan, spec: InferenceEndpointSpec, unmanaged: Finding | None, conflict: Condition) -> Condition:
    """Clients can reach the model: a group answers, and there is an address."""
    taken = Finding(ErrorClass.PERMANENT, conflict.reason, conflict.message) if conflict.status is Status.TRUE else None
    problem = unmanaged or taken or plan.problem
    if problem:
        return Condition(AVAILABLE, Status.FALSE, problem.reason, f"{problem.message} [{problem.error}]")
    where = ", ".join(plan.ready_urls)
    message = f"Endpoint is accessible and healthy: InferenceService {spec.service} answers at {where}"
    return Condition(AVAILABLE, Status.TRUE, Reason.SUCCESSFUL, message)


def _routing(plan: Plan) -> Condition:
    """Informative: clients are served either way."""
    if plan.unrouted or plan.refused:
        reason = Reason.CONFIGURATION_ERROR if plan.refused else Reason.MISSING_CAPABILITY
        return Condition("RoutingApplied", Status.FALSE, reason, listed((*plan.refused, *plan.unrouted)))
    message = (
        f"connections are spread over the groups whose /health answers, which is asked every {PERIOD} and may take "
        f"{TIMEOUT}"
    )
    return Condition("RoutingApplied", Status.TRUE, Reason.SUCCESSFUL, message)
