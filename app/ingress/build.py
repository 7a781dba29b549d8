"""IngressSpec -> the Ingress."""

from __future__ import annotations

from kubernetes.client.models.v1_http_ingress_path import V1HTTPIngressPath
from kubernetes.client.models.v1_http_ingress_rule_value import V1HTTPIngressRuleValue
from kubernetes.client.models.v1_ingress import V1Ingress
from kubernetes.client.models.v1_ingress_backend import V1IngressBackend
from kubernetes.client.models.v1_ingress_rule import V1IngressRule
from kubernetes.client.models.v1_ingress_service_backend import V1IngressServiceBackend
from kubernetes.client.models.v1_ingress_spec import V1IngressSpec
from kubernetes.client.models.v1_ingress_tls import V1IngressTLS
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_service_backend_port import V1ServiceBackendPort

from app.api.v1alpha1.ingress import IngressSpec


def build_ingress(metadata: V1ObjectMeta, ingress: IngressSpec, service: str, port: int) -> V1Ingress:
    """Everything under the host goes to one port of a Service."""
    backend = V1IngressServiceBackend(name=service, port=V1ServiceBackendPort(number=port))
    path = V1HTTPIngressPath(path="/", path_type="Prefix", backend=V1IngressBackend(service=backend))
    tls = V1IngressTLS(hosts=[str(ingress.host)], secret_name=ingress.tls.secret_name)
    return V1Ingress(
        api_version="networking.k8s.io/v1",
        kind="Ingress",
        metadata=metadata,
        spec=V1IngressSpec(
            ingress_class_name=ingress.class_name,
            rules=[V1IngressRule(host=ingress.host, http=V1HTTPIngressRuleValue(paths=[path]))],
            tls=[tls] if ingress.tls.enabled else None,
        ),
    )
