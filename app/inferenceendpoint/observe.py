"""Children and the InferenceService -> the few facts that are read."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.schema import API_VERSION
from app.api.v1alpha1.inferenceservice import NetworkingSpec
from app.api.v1alpha1.inferenceservice_status import InferenceServiceStatus
from app.inferenceendpoint.names import service_name
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at
from app.kube.manifest import Manifest
from app.metacontroller.protocol import SyncRequest

SERVICE = "Service.v1"
INGRESS = "Ingress.networking.k8s.io/v1"
INFERENCE_SERVICE = f"InferenceService.{API_VERSION}"


@dataclass(frozen=True)
class Target:
    """What the InferenceService tells."""

    ready_groups: int
    http_port: int
    """Port of its own Service."""


@dataclass(frozen=True)
class Observed:
    target: Target | None
    service_exists: bool
    address: str
    """Address of the load balancer, "" while there is none."""
    node_ports: tuple[tuple[str, int], ...]
    """Port name and node port."""


def observe(request: SyncRequest, target: str) -> Observed:
    """The facts of one sync."""
    service = request.child(SERVICE, service_name(request.parent.name))
    points = mappings_at(service, "status", "loadBalancer", "ingress")
    ports = mappings_at(service, "spec", "ports")
    found = request.related_object(INFERENCE_SERVICE, target)
    return Observed(
        target=_target(found) if found else None,
        service_exists=service is not None,
        address=next((text_at(point, "hostname") or text_at(point, "ip") for point in points), ""),
        node_ports=tuple((text_at(port, "name"), count_at(port, "nodePort")) for port in ports),
    )


def _target(service: Manifest) -> Target:
    """Two parts of an InferenceService: to read all of it would take longer than all else here."""
    status = InferenceServiceStatus.read(service.get("status"))
    networking = NetworkingSpec.read(mapping_at(service, "spec").get("networking"))
    return Target(ready_groups=status.ready_replicas or 0, http_port=networking.ports.http)
