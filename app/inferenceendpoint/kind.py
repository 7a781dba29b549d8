"""What the API server must know about InferenceEndpoint besides its fields."""

from app.crd import Column, Kind, Rule
from app.inferenceendpoint.names import NAME_LIMIT
from app.inferenceendpoint.spec import InferenceEndpointSpec
from app.inferenceendpoint.status import InferenceEndpointStatus

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
