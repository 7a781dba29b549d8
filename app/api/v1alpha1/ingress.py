"""Ingress, as InferenceService and InferenceEndpoint both offer it.

What of it is allowed stands in app.ingress.allowed.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from app.api.bounds import TEXT, MapBounds
from app.api.schema import HostName, Model, ObjectName, Rule


class IngressTLSSpec(Model):
    """TLS at the ingress."""

    enabled: bool = Field(False, description="Serve https.")
    secret_name: ObjectName | None = Field(None, description="Secret with the certificate.")


class IngressSpec(Model):
    """Ingress in front of the Service."""

    enabled: bool = Field(False, description="Create an Ingress.")
    class_name: ObjectName | None = Field(None, description="IngressClass; the cluster's default when left out.")
    host: HostName | None = Field(None, description="DNS name that leads to this service; no address, no wildcard.")
    tls: IngressTLSSpec = Field(default_factory=IngressTLSSpec, description="TLS settings.")
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
