"""Ingress, as InferenceService and InferenceEndpoint both offer it: the part of the spec, the object and its URL.

What of it is allowed stands in app.ingress_rules.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

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
from pydantic import Field

from app.bounds import TEXT, MapBounds
from app.crd import HostName, Model, ObjectName, Rule


class IngressTLSSpec(Model):
    """TLS at the ingress."""

    enabled: bool = Field(False, description="Serve https.")
    secret_name: ObjectName | None = Field(None, description="Secret with the certificate.")


class IngressSpec(Model):
    """Ingress in front of the Service."""

    enabled: bool = Field(False, description="Create an Ingress.")
    class_name: ObjectName | None = Field(None, description="IngressClass; the cluster's default when left out.")
    host: HostName | None = Field(None, description="DNS name that leads to this service; no address, no wildcard.")
    tls: IngressTLSSpec = Field(IngressTLSSpec(), description="TLS settings.")
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=TEXT)]], MapBounds(total=TEXT)] = Field(
        {}, description="Annotations for the ingress controller."
    )
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!self.enabled || has(self.host)", "an ingress needs a host name: set host"),
        Rule(
            "!has(self.tls) || !self.tls.enabled || has(self.tls.secretName)",
            "TLS needs a certificate: set tls.secretName",
        ),
    )

    @property
    def url(self) -> str:
        """https only where TLS ends."""
        return f"{'https' if self.tls.enabled else 'http'}://{self.host}"


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
