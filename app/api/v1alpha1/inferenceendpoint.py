"""InferenceEndpoint as users write it: the single source of its CRD."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from app.api.object import Object
from app.api.schema import Column, ConditionList, Duration, Kind, Model, Rule
from app.api.v1alpha1.ingress import IngressSpec

PortNumber = Annotated[int, Field(ge=1, le=65535)]
# It stands in a label selector, whose values have 63 characters at most.
ServiceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
PortName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
DEFAULT_PORT = 8000
NEEDS_HTTP = "an endpoint needs a port with protocol HTTP: vLLM serves no gRPC by default"


class ExposeType(StrEnum):
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class PortProtocol(StrEnum):
    HTTP = "HTTP"
    GRPC = "gRPC"


class RoutingStrategy(StrEnum):
    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"
    WEIGHTED = "weighted"


class PortSpec(Model):
    """One port of the Service."""

    name: PortName = Field(description="Name of the port, unique in this endpoint.")
    port: PortNumber = Field(description="Port that clients use.")
    protocol: PortProtocol = Field(
        PortProtocol.HTTP, description="HTTP or gRPC; vLLM serves no gRPC by default, which the status says."
    )
    target_port: PortNumber | None = Field(
        None, description="8000, vLLM's own port, or the http port of the InferenceService; both mean the HTTP API."
    )


class ExposeSpec(Model):
    """The Service in front of the model."""

    type: ExposeType = Field(ExposeType.CLUSTER_IP, description="Type of the Service.")
    ports: Annotated[
        list[PortSpec],
        Field(
            min_length=1,
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field([PortSpec(name="http", port=DEFAULT_PORT)], description="Ports; left out: HTTP at 8000.")
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.ports) || self.ports.exists(p, p.protocol == 'HTTP')",
            NEEDS_HTTP,
        ),
        Rule(
            "!has(self.ports) || self.ports.all(p, self.ports.exists_one(q, q.port == p.port))",
            "two of expose.ports have the same port number",
        ),
    )

    @field_validator("ports")
    @classmethod
    def _has_http(cls, ports: list[PortSpec]) -> list[PortSpec]:
        """What is built has no form without one, also where admission was off."""
        if all(port.protocol is not PortProtocol.HTTP for port in ports):
            raise ValueError(NEEDS_HTTP)
        return ports

    @property
    def http_ports(self) -> list[PortSpec]:
        return [port for port in self.ports if port.protocol is PortProtocol.HTTP]


class HealthCheckSpec(Model):
    """How a backend is judged."""

    enabled: bool = Field(True, description="Check backends; readiness is checked always.")
    path: Annotated[str, Field(max_length=256, pattern=r"^/[^\s]*$")] = Field("/health", description="Path to ask.")
    interval: Duration = Field("30s", description="Time between checks; other than by default: not applied.")
    timeout: Duration = Field("5s", description="Time a check may take; other than by default: not applied.")


class RoutingSpec(Model):
    """How requests are spread over groups."""

    strategy: RoutingStrategy = Field(RoutingStrategy.ROUND_ROBIN, description="Which group takes a request.")
    health_check: HealthCheckSpec = Field(default_factory=HealthCheckSpec, description="How a backend is judged.")


class InferenceEndpointSpec(Model):
    """How an InferenceService is reached."""

    service: ServiceName = Field(description="InferenceService of this namespace.")
    expose: ExposeSpec = Field(default_factory=ExposeSpec, description="The Service in front of the model.")
    ingress: IngressSpec = Field(default_factory=IngressSpec, description="Ingress to the first HTTP port.")
    routing: RoutingSpec = Field(default_factory=RoutingSpec, description="How requests are spread over groups.")


class EndpointStatus(Model):
    """One port."""

    name: str = Field(description="Name of the port.")
    url: str | None = Field(None, description="Where clients reach it.")
    status: str | None = Field(None, description="Ready, Pending, GRPCUnavailable or PortUnavailable.")
    message: str | None = Field(None, description="Why, or how to reach it from outside.")


class InferenceEndpointStatus(Model):
    """What became of the spec."""

    url: str | None = Field(None, description="Where clients reach the HTTP API.")
    endpoints: list[EndpointStatus] = Field(default_factory=list, description="Every port with its URL and state.")
    conditions: ConditionList = Field(default_factory=list, description="Available, RoutingApplied, ChildConflict.")


class InferenceEndpoint(Object):
    """The object as it is read."""

    spec: InferenceEndpointSpec
    status: InferenceEndpointStatus = Field(default_factory=InferenceEndpointStatus)


NAME_LIMIT = 54
"""The Service <name>-endpoint is a DNS label of 63 characters at most."""
KIND = Kind(
    name="InferenceEndpoint",
    plural="inferenceendpoints",
    short_names=("iep",),
    spec=InferenceEndpointSpec,
    status=InferenceEndpointStatus,
    description="InferenceEndpoint is how an InferenceService is reached: exposure, ingress, routing, health checks.",
    columns=(
        Column("Service", ".spec.service", "InferenceService it leads to."),
        Column("Type", ".spec.expose.type", "Type of its Service."),
        Column("Available", '.status.conditions[?(@.type=="Available")].status', "Whether clients get answers."),
        Column("URL", ".status.url", "Where clients reach the HTTP API."),
        Column(
            "Since",
            '.status.conditions[?(@.type=="Available")].lastTransitionTime',
            "Last change of Available.",
            "date",
        ),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
        Column("Message", '.status.conditions[?(@.type=="Available")].message', "What it waits for.", priority=1),
    ),
    rules=(
        Rule(
            f"self.metadata.name.size() <= {NAME_LIMIT}",
            f"the name can have {NAME_LIMIT} characters at most, because its Service has a longer name",
        ),
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "the name must start with a letter and have lower-case letters, digits and '-' only, "
            "because its Service is named after it",
        ),
    ),
)
