"""The Service: leaders' API port, and the metrics port that leads to the same."""

from __future__ import annotations

from kubernetes.client.models.v1_service import V1Service
from kubernetes.client.models.v1_service_port import V1ServicePort
from kubernetes.client.models.v1_service_spec import V1ServiceSpec

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.contracts.runtime import HTTP_PORT
from app.inferenceservice.children.metadata import child_metadata
from app.inferenceservice.children.pod_template import pod_labels
from app.inferenceservice.facts import Facts
from app.kube.manifest import Manifest, emit
from app.kube.names import (
    LEADER,
)


def build_service(facts: Facts) -> Manifest:
    """The stable address of the service: leaders' API port, and the metrics port that leads to the same."""
    networking, monitoring = facts.spec.networking, facts.spec.monitoring
    metrics = monitoring.enabled and monitoring.prometheus.port != networking.ports.http
    return emit(
        V1Service(
            api_version="v1",
            kind="Service",
            metadata=child_metadata(facts.identity.name, facts, annotations=_scrape_annotations(facts.spec)),
            spec=V1ServiceSpec(
                type=networking.service_type.value,
                selector=pod_labels(facts.identity, LEADER),
                ports=[_port("http", networking.ports.http)]
                + ([_port("metrics", monitoring.prometheus.port)] if metrics else []),
            ),
        )
    )


def _port(name: str, number: int) -> V1ServicePort:
    return V1ServicePort(name=name, port=number, target_port="http", protocol="TCP")


def _scrape_annotations(spec: InferenceServiceSpec) -> dict[str, str] | None:
    """On the Service, not on pods: switching monitoring restarts nothing. The port is the pods' own, because by this
    convention Prometheus scrapes the addresses behind the Service."""
    if not spec.monitoring.enabled:
        return None
    return {
        "prometheus.io/path": spec.monitoring.prometheus.path,
        "prometheus.io/port": str(HTTP_PORT),
        "prometheus.io/scrape": "true",
    }
