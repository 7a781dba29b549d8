"""Spec + observed -> for each port: where it is reached, and whether it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.api.v1alpha1.inferenceendpoint import ExposeType, PortSpec
from app.inferenceendpoint.checks import BLOCKERS, UNROUTED, Facts, leads_elsewhere, speaks_grpc
from app.inferenceendpoint.names import service_name
from app.kube.conditions import ErrorClass, Finding, Reason


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


def plan_endpoint(facts: Facts, refused: tuple[str, ...] = ()) -> Plan:
    """The plan of one sync; it never touches what the Service looks like, so nothing observed can break it. `refused`
    says what of the ingress is not allowed."""
    problem = BLOCKERS.evaluate(facts)
    ports = tuple(_plan_port(port, facts, problem) for port in facts.spec.expose.ports)
    if problem is None and not any(port.state is PortState.READY for port in ports):
        problem = _no_usable_port(ports)
    unrouted = UNROUTED.evaluate_all(facts.spec.routing)
    return Plan(ports, problem, unrouted, tuple(f"ingress.{note}" for note in refused))


def _plan_port(port: PortSpec, facts: Facts, problem: Finding | None) -> PortPlan:
    if message := speaks_grpc(port):
        return PortPlan(port.name, PortState.GRPC_UNAVAILABLE, "", message)
    if message := leads_elsewhere(port, facts.observed):
        return PortPlan(port.name, PortState.PORT_UNAVAILABLE, "", message)
    state = PortState.PENDING if problem else PortState.READY
    return PortPlan(port.name, state, _url(port, facts), problem.message if problem else _hint(port, facts))


def _url(port: PortSpec, facts: Facts) -> str:
    spec, address = facts.spec, facts.observed.address
    if spec.ingress.enabled and port is spec.expose.http_ports[0]:
        return spec.ingress.url
    host = f"{service_name(facts.name)}.{facts.namespace}.svc"
    if spec.expose.type is ExposeType.LOAD_BALANCER and address:
        host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port.port}"


def _hint(port: PortSpec, facts: Facts) -> str:
    """From outside, a node port is reached at any node, whose addresses are not ours to know."""
    number = dict(facts.observed.node_ports).get(port.name, 0)
    return (
        f"port {number} of every node leads here" if number and facts.spec.expose.type is ExposeType.NODE_PORT else ""
    )


def _no_usable_port(ports: tuple[PortPlan, ...]) -> Finding:
    message = "; ".join(f"{port.name}: {port.message}" for port in ports)
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)
