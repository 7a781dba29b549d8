"""The children of a service that grant rights, from its name alone.

They are built at every look, also while the spec cannot be read: what stands in the cluster may be anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_policy_rule import V1PolicyRule

from app.inferenceservice.children.network_policy import build_network_policy
from app.inferenceservice.names import keys_name
from app.kube.access import build_access
from app.kube.manifest import Manifest, own_metadata
from app.metacontroller.keep import Rebuild

KEYS_RULES = (V1PolicyRule(api_groups=[""], resources=["secrets"], verbs=["create"]),)
"""Of the Job that makes ssh keys; Kubernetes cannot limit the right to create to one name."""


def rebuild_grants(service: str, clients: Sequence[str]) -> Rebuild:
    """Builds the NetworkPolicy for these namespaces, and what the Job of the ssh keys may do; others are left out."""

    def rebuild(child: Manifest) -> Manifest | None:
        metadata = V1ObjectMeta(**own_metadata(child))
        wanted = [build_network_policy(metadata, service, clients)] if metadata.name == service else []
        wanted += build_access(metadata, KEYS_RULES) if metadata.name == keys_name(service) else []
        return next((built for built in wanted if built["kind"] == child["kind"]), None)

    return rebuild
