"""Children and the InferenceService -> the few facts that are read."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.schema import API_VERSION
from app.inferenceendpoint.names import service_name
from app.kube.lenient import count_at, mappings_at, text_at
from app.metacontroller.protocol import SyncRequest

SERVICE = "Service.v1"
INGRESS = "Ingress.networking.k8s.io/v1"
INFERENCE_SERVICE = f"InferenceService.{API_VERSION}"


@dataclass(frozen=True)
class Target:
    """What the InferenceService tells."""

    ready_groups: int
    http_port: int
    """Port of its own Service; 0 = the default."""
    model: str


@dataclass(frozen=True)
class Observed:
    target: Target | None
    service_exists: bool
    address: str
    """Address of the load balancer, "" while there is none."""
    node_ports: tuple[tuple[str, int], ...]
    """Port name and node port."""


def parse_observed(request: SyncRequest, target: str) -> Observed:
    """The facts of one sync."""
    service = request.child(SERVICE, service_name(request.parent.name))
    points = mappings_at(service, "status", "loadBalancer", "ingress")
    ports = mappings_at(service, "spec", "ports")
    return Observed(
        target=_target(request, target),
        service_exists=service is not None,
        address=next((text_at(point, "hostname") or text_at(point, "ip") for point in points), ""),
        node_ports=tuple((text_at(port, "name"), count_at(port, "nodePort")) for port in ports),
    )


def _target(request: SyncRequest, name: str) -> Target | None:
    found = request.related_object(INFERENCE_SERVICE, name)
    if found is None:
        return None
    return Target(
        ready_groups=count_at(found, "status", "readyReplicas"),
        http_port=count_at(found, "spec", "networking", "ports", "http"),
        model=text_at(found, "spec", "model", "name"),
    )
