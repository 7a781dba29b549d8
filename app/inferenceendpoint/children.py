"""Plan -> desired objects. They depend on the spec alone, so nothing that flickers can change or remove them."""

from __future__ import annotations

from collections.abc import Mapping

from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_service import V1Service
from kubernetes.client.models.v1_service_port import V1ServicePort
from kubernetes.client.models.v1_service_spec import V1ServiceSpec

from app.api.v1alpha1.inferenceendpoint import InferenceEndpointSpec, PortSpec
from app.inferenceendpoint.names import service_name
from app.ingress.build import build_ingress
from app.kube.manifest import Manifest, emit
from app.kube.names import ENDPOINT_LABEL, LEADER, OPERATOR, ROLE_LABEL, SERVICE_LABEL, label_value
from app.metacontroller.protocol import Parent


def build_children(parent: Parent, spec: InferenceEndpointSpec) -> list[Manifest]:
    """The whole desired state: the Service, and the Ingress when asked for."""
    children = [emit(build_service(parent, spec))]
    if spec.ingress.enabled:
        metadata = _metadata(service_name(parent.name), parent, spec, spec.ingress.annotations)
        port = spec.expose.http_ports[0].port
        children.append(emit(build_ingress(metadata, spec.ingress, service_name(parent.name), port)))
    return children


def build_service(parent: Parent, spec: InferenceEndpointSpec) -> V1Service:
    """Leaders serve requests; workers of a group serve none."""
    return V1Service(
        api_version="v1",
        kind="Service",
        metadata=_metadata(service_name(parent.name), parent, spec),
        spec=V1ServiceSpec(
            type=spec.expose.type.value,
            selector={SERVICE_LABEL: spec.service, ROLE_LABEL: LEADER},
            ports=[_port(port) for port in spec.expose.http_ports],
        ),
    )


def _port(port: PortSpec) -> V1ServicePort:
    """The pods' API port by its name: whatever number stands in targetPort, that is what it means."""
    return V1ServicePort(name=port.name, port=port.port, target_port="http", protocol="TCP")


def _metadata(
    name: str, parent: Parent, spec: InferenceEndpointSpec, annotations: Mapping[str, str] | None = None
) -> V1ObjectMeta:
    labels = {
        "app.kubernetes.io/name": OPERATOR,
        "app.kubernetes.io/component": "endpoint",
        "app.kubernetes.io/instance": label_value(parent.name),
        "app.kubernetes.io/managed-by": OPERATOR,
        ENDPOINT_LABEL: label_value(parent.name),
        SERVICE_LABEL: label_value(spec.service),
    }
    return V1ObjectMeta(
        name=name, namespace=parent.namespace, labels=labels, annotations=dict(annotations) if annotations else None
    )
