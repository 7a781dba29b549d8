"""Why nothing answers, what of routing is not done, which ports lead nowhere: checks in the order of telling."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.v1alpha1.inferenceendpoint import (
    DEFAULT_PORT,
    ExposeType,
    HealthCheckSpec,
    InferenceEndpointSpec,
    PortProtocol,
    PortSpec,
    RoutingSpec,
    RoutingStrategy,
)
from app.contracts.runtime import PROBE_PERIOD_SECONDS, PROBE_TIMEOUT_SECONDS
from app.inferenceendpoint.observe import Observed
from app.kube.conditions import ErrorClass, Finding, Reason
from app.policy import Chain

PERIOD, TIMEOUT = f"{PROBE_PERIOD_SECONDS} s", f"{PROBE_TIMEOUT_SECONDS} s"
_USUAL = HealthCheckSpec()
"""A default is not counted as a wish: stored objects have it whether or not anybody wrote it."""


@dataclass(frozen=True)
class Facts:
    """The spec, with what is allowed of its ingress, and what is there."""

    name: str
    namespace: str
    spec: InferenceEndpointSpec
    observed: Observed


def service_unknown(facts: Facts) -> Finding | None:
    if facts.observed.target is not None:
        return None
    message = f"InferenceService {facts.spec.service} does not exist in this namespace: create it"
    return Finding(ErrorClass.TRANSIENT, Reason.SERVICE_NOT_FOUND, message)


def child_missing(facts: Facts) -> Finding | None:
    if facts.observed.service_exists:
        return None
    return Finding(ErrorClass.TRANSIENT, Reason.PENDING, "the Service is being made")


def no_group_ready(facts: Facts) -> Finding | None:
    if facts.observed.target is None or facts.observed.target.ready_groups:
        return None
    message = f"InferenceService {facts.spec.service} has no group that is ready yet"
    return Finding(ErrorClass.TRANSIENT, Reason.PENDING, message)


def address_missing(facts: Facts) -> Finding | None:
    spec = facts.spec
    if spec.expose.type is not ExposeType.LOAD_BALANCER or facts.observed.address or spec.ingress.enabled:
        return None
    return Finding(ErrorClass.EXTERNAL, Reason.PENDING, "the load balancer has given no address yet")


BLOCKERS = Chain[Facts, Finding](service_unknown, child_missing, no_group_ready, address_missing)
"""Clients get no answer while one of these holds."""


def strategy_unapplied(routing: RoutingSpec) -> str | None:
    """A Service spreads connections evenly over groups whose readiness probe asks vLLM's /health."""
    if routing.strategy is RoutingStrategy.ROUND_ROBIN:
        return None
    return f"strategy {routing.strategy} is not applied: connections are spread evenly"


def health_check_disabled(routing: RoutingSpec) -> str | None:
    """The kubelet's probes are those of the InferenceService's pods, which an endpoint does not change."""
    if routing.health_check.enabled:
        return None
    return "health checks cannot be switched off: a group that is not ready gets no connections"


def health_path_unapplied(routing: RoutingSpec) -> str | None:
    check = routing.health_check
    if not check.enabled or check.path == _USUAL.path:
        return None
    return f"health check path {check.path} is not applied: readiness asks {_USUAL.path}"


def health_interval_unapplied(routing: RoutingSpec) -> str | None:
    check = routing.health_check
    if not check.enabled or check.interval == _USUAL.interval:
        return None
    return f"health check interval {check.interval} is not applied: readiness is asked every {PERIOD}"


def health_timeout_unapplied(routing: RoutingSpec) -> str | None:
    check = routing.health_check
    if not check.enabled or check.timeout == _USUAL.timeout:
        return None
    return f"health check timeout {check.timeout} is not applied: readiness waits {TIMEOUT}"


UNROUTED = Chain[RoutingSpec, str](
    strategy_unapplied,
    health_check_disabled,
    health_path_unapplied,
    health_interval_unapplied,
    health_timeout_unapplied,
)
"""What the spec asks of routing and a plain Service does not do."""


def speaks_grpc(port: PortSpec) -> str:
    """Why a port is left out of the Service; "" where it is not."""
    if port.protocol is not PortProtocol.GRPC:
        return ""
    leads = f" (targetPort {port.target_port})" if port.target_port else ""
    return f"vLLM serves no gRPC next to HTTP by default, so port {port.port}{leads} is left out of the Service"


def leads_elsewhere(port: PortSpec, observed: Observed) -> str:
    """Why a port does not reach the API; "" where it does. The container listens at one port; people may also mean the
    port of the InferenceService's own Service, which is not known before that is."""
    target = observed.target
    if target is None or port.target_port in (None, DEFAULT_PORT, target.http_port):
        return ""
    return f"targetPort {port.target_port} is not served: vLLM's API is at {DEFAULT_PORT}, leave targetPort out"
