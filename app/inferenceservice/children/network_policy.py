"""The NetworkPolicy of a service: who may reach its pods.

Pods of the service reach each other on every port: vLLM, Gloo, RCCL and Open MPI take ports of the kernel's choice.
All others, of this namespace or another or from outside, reach vLLM's API port, which serves the metrics too; the
kubelet's probes come there as well. Where a setting names namespaces, only their pods and those of the service's own
namespace reach it: policies add up, so a namespace that denies by default is no longer opened by ours. What pods may
reach themselves is left to the cluster's administrator: models, traces and remote caches lie where only they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubernetes.client.models.v1_label_selector import V1LabelSelector
from kubernetes.client.models.v1_label_selector_requirement import V1LabelSelectorRequirement
from kubernetes.client.models.v1_network_policy import V1NetworkPolicy
from kubernetes.client.models.v1_network_policy_ingress_rule import V1NetworkPolicyIngressRule
from kubernetes.client.models.v1_network_policy_peer import V1NetworkPolicyPeer
from kubernetes.client.models.v1_network_policy_port import V1NetworkPolicyPort
from kubernetes.client.models.v1_network_policy_spec import V1NetworkPolicySpec
from kubernetes.client.models.v1_object_meta import V1ObjectMeta

from app.contracts.runtime import HTTP_PORT
from app.inferenceservice.children.metadata import child_metadata
from app.inferenceservice.facts import Facts
from app.kube.manifest import Manifest, emit
from app.kube.names import NAMESPACE_NAME_LABEL, SERVICE_LABEL


def build_network_policy(metadata: V1ObjectMeta, service: str, clients: Sequence[str]) -> Manifest:
    """The policy of the service of this name; `clients` are the namespaces that reach it, none are all."""
    api = V1NetworkPolicyPort(port=HTTP_PORT, protocol="TCP")
    own = V1LabelSelector(match_labels={SERVICE_LABEL: service})
    return emit(
        V1NetworkPolicy(
            api_version="networking.k8s.io/v1",
            kind="NetworkPolicy",
            metadata=metadata,
            spec=V1NetworkPolicySpec(
                pod_selector=own,
                policy_types=["Ingress"],
                ingress=[
                    # by its own name, for the constructor drops a field that is called as a word of the language
                    V1NetworkPolicyIngressRule.model_validate({"from": [V1NetworkPolicyPeer(pod_selector=own)]}),
                    V1NetworkPolicyIngressRule.model_validate(_clients(metadata, clients) | {"ports": [api]}),
                ],
            ),
        )
    )


def _clients(metadata: V1ObjectMeta, clients: Sequence[str]) -> dict[str, Any]:
    """Whose pods reach the API port; {} is everybody."""
    if not clients:
        return {}
    names = sorted({str(metadata.namespace), *clients})
    among = V1LabelSelectorRequirement(key=NAMESPACE_NAME_LABEL, operator="In", values=names)
    selector = V1LabelSelector(match_expressions=[among])
    return {"from": [V1NetworkPolicyPeer(namespace_selector=selector)]}


def build_own_network_policy(facts: Facts) -> Manifest:
    name = facts.identity.name
    return build_network_policy(child_metadata(name, facts), name, facts.settings.client_namespaces)
