"""Which objects an endpoint of a name would have made."""

from __future__ import annotations

from app.inferenceendpoint.names import service_name
from app.kube.lenient import mapping_at, text_at
from app.kube.manifest import Manifest
from app.kube.names import LEADER, ROLE_LABEL, SERVICE_LABEL
from app.kube.shape import is_named, leads_to


def is_ours(endpoint: str, child: Manifest) -> bool:
    """Whether the endpoint would have made this child; the service that it leads to may have been another before."""
    name = service_name(endpoint)
    if text_at(child, "kind") == "Ingress":
        return is_named(child, name) and leads_to(child, name)
    selector = mapping_at(child, "spec", "selector")
    chosen = selector.keys() == {SERVICE_LABEL, ROLE_LABEL} and selector[ROLE_LABEL] == LEADER
    inside = text_at(child, "spec", "type") != "ExternalName"
    return text_at(child, "kind") == "Service" and is_named(child, name) and chosen and inside
