"""Spec + observed -> for each port: where it is reached, and whether it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from app.api.v1alpha1.inferenceendpoint import (
    DEFAULT_PORT,
    ExposeType,
    HealthCheckSpec,
    InferenceEndpointSpec,
    PortProtocol,
    PortSpec,
    RoutingStrategy,
)
from app.contracts.runtime import PROBE_PERIOD_SECONDS, PROBE_TIMEOUT_SECONDS
from app.inferenceendpoint.names import service_name
from app.inferenceendpoint.observe import Observed
from app.kube.conditions import ErrorClass, Finding, Reason

PERIOD, TIMEOUT = f"{PROBE_PERIOD_SECONDS} s", f"{PROBE_TIMEOUT_SECONDS} s"


class PortState(StrEnum):
    """What a client may expect of a port."""

    READY = "Ready"
    PENDING = "Pending"
    GRPC_UNAVAILABLE = "GRPCUnavailable"
    PORT_UNAVAILABLE = "PortUnavailable"


@dataclass(frozen=True)
class PortPlan:
    """One entry of status.endpoints."""

    name: str
    state: PortState
    url: str
    message: str


@dataclass(frozen=True)
class Plan:
    ports: tuple[PortPlan, ...]
    problem: Finding | None
    """Why nothing answers; None when something does."""
    unrouted: tuple[str, ...]
    """What the spec asks of routing and a plain Service does not do."""
    refused: tuple[str, ...] = ()
    """What the spec asks of its ingress and the administrator does not allow."""

    @property
    def ready_urls(self) -> list[str]:
        return [port.url for port in self.ports if port.state is PortState.READY]


def plan_endpoint(
    name: str, namespace: str, spec: InferenceEndpointSpec, observed: Observed, refused: tuple[str, ...] = ()
) -> Plan:
    """The plan of one sync; it never touches what the Service looks like, so nothing observed can break it. `spec`
    holds what is allowed of its ingress, `refused` says what is not."""
    problem = _find_problem(spec, observed)
    ports = tuple(_plan_port(port, name, namespace, spec, observed, problem) for port in spec.expose.ports)
    if problem is None and not any(port.state is PortState.READY for port in ports):
        problem = _no_usable_port(ports)
    return Plan(ports, problem, tuple(_find_unrouted(spec)), tuple(f"ingress.{note}" for note in refused))


def _find_problem(spec: InferenceEndpointSpec, observed: Observed) -> Finding | None:
    if observed.target is None:
        message = f"InferenceService {spec.service} does not exist in this namespace: create it"
        return Finding(ErrorClass.TRANSIENT, Reason.SERVICE_NOT_FOUND, message)
    if not observed.service_exists:
        return Finding(ErrorClass.TRANSIENT, Reason.PENDING, "the Service is being made")
    if not observed.target.ready_groups:
        return Finding(
            ErrorClass.TRANSIENT, Reason.PENDING, f"InferenceService {spec.service} has no group that is ready yet"
        )
    if spec.expose.type is ExposeType.LOAD_BALANCER and not (observed.address or spec.ingress.enabled):
        return Finding(ErrorClass.EXTERNAL, Reason.PENDING, "the load balancer has given no address yet")
    return None


def _plan_port(
    port: PortSpec,
    name: str,
    namespace: str,
    spec: InferenceEndpointSpec,
    observed: Observed,
    problem: Finding | None,
) -> PortPlan:
    if port.protocol is PortProtocol.GRPC:
        leads = f" (targetPort {port.target_port})" if port.target_port else ""
        message = f"vLLM serves no gRPC next to HTTP by default, so port {port.port}{leads} is left out of the Service"
        return PortPlan(port.name, PortState.GRPC_UNAVAILABLE, "", message)
    if not _leads_to_api(port, observed):
        message = f"targetPort {port.target_port} is not served: vLLM's API is at {DEFAULT_PORT}, leave targetPort out"
        return PortPlan(port.name, PortState.PORT_UNAVAILABLE, "", message)
    state = PortState.PENDING if problem else PortState.READY
    return PortPlan(
        port.name,
        state,
        _url(port, name, namespace, spec, observed),
        problem.message if problem else _hint(port, spec, observed),
    )


def _leads_to_api(port: PortSpec, observed: Observed) -> bool:
    """The container listens at one port; people may also mean the port of the InferenceService's own Service."""
    if observed.target is None:
        return True  # nobody knows yet
    return port.target_port in (None, DEFAULT_PORT, observed.target.http_port)


def _url(port: PortSpec, name: str, namespace: str, spec: InferenceEndpointSpec, observed: Observed) -> str:
    if spec.ingress.enabled and port is spec.expose.http_ports[0]:
        return spec.ingress.url
    host = f"{service_name(name)}.{namespace}.svc"
    if spec.expose.type is ExposeType.LOAD_BALANCER and observed.address:
        host = f"[{observed.address}]" if ":" in observed.address else observed.address
    return f"http://{host}:{port.port}"


def _hint(port: PortSpec, spec: InferenceEndpointSpec, observed: Observed) -> str:
    """From outside, a node port is reached at any node, whose addresses are not ours to know."""
    number = dict(observed.node_ports).get(port.name, 0)
    return f"port {number} of every node leads here" if number and spec.expose.type is ExposeType.NODE_PORT else ""


def _no_usable_port(ports: tuple[PortPlan, ...]) -> Finding:
    message = "; ".join(f"{port.name}: {port.message}" for port in ports)
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def _find_unrouted(spec: InferenceEndpointSpec) -> list[str]:
    """A Service spreads connections evenly over groups whose readiness probe asks vLLM's /health."""
    routing = spec.routing
    found = []
    if routing.strategy is not RoutingStrategy.ROUND_ROBIN:
        found.append(f"strategy {routing.strategy} is not applied: connections are spread evenly")
    return found + list(_unapplied_checks(routing.health_check))


def _unapplied_checks(check: HealthCheckSpec) -> Iterator[str]:
    """The kubelet's probes are those of the InferenceService's pods, which an endpoint does not change. A default is
    not counted as a wish: stored objects have it whether or not anybody wrote it."""
    usual = HealthCheckSpec()
    if not check.enabled:
        yield "health checks cannot be switched off: a group that is not ready gets no connections"
        return
    if check.path != usual.path:
        yield f"health check path {check.path} is not applied: readiness asks {usual.path}"
    if check.interval != usual.interval:
        yield f"health check interval {check.interval} is not applied: readiness is asked every {PERIOD}"
    if check.timeout != usual.timeout:
        yield f"health check timeout {check.timeout} is not applied: readiness waits {TIMEOUT}"
