"""Where pods may run, as far as their template may say it: constants of the decision, never a node's name.

- product and partition mode of the GPUs that the memory was planned for, by the labels that GPUNodes' decorator writes
- nodes of the pool, where its selector asks for anything and the kube-scheduler chooses: the agent needs no such rule,
  and the template would hold it to the selector of the day when it was built
- exclusive: no other service's pod on the node, of this namespace or of any other. Kubernetes holds such a rule
  against pods that come later too, so others need no rule of their own. Foreign pods are not kept off by it.
- a ReadWriteOnce volume: all pods that read it on one node
- static: one pod of a group on each node
- pods that the kube-scheduler places by itself go to nodes where services are already, if they can: whole nodes stay
  free for those that need them
"""

from __future__ import annotations

from collections.abc import Iterator

from kubernetes.client.models.v1_affinity import V1Affinity
from kubernetes.client.models.v1_label_selector import V1LabelSelector
from kubernetes.client.models.v1_label_selector_requirement import V1LabelSelectorRequirement
from kubernetes.client.models.v1_node_affinity import V1NodeAffinity
from kubernetes.client.models.v1_node_selector import V1NodeSelector
from kubernetes.client.models.v1_node_selector_requirement import V1NodeSelectorRequirement
from kubernetes.client.models.v1_node_selector_term import V1NodeSelectorTerm
from kubernetes.client.models.v1_pod_affinity import V1PodAffinity
from kubernetes.client.models.v1_pod_affinity_term import V1PodAffinityTerm
from kubernetes.client.models.v1_pod_anti_affinity import V1PodAntiAffinity
from kubernetes.client.models.v1_weighted_pod_affinity_term import V1WeightedPodAffinityTerm

from app.api.v1alpha1.gpunode import PARTITION_LABEL, PRODUCT_LABEL
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec, Sharing
from app.fit.parallelism import Strategy
from app.inferenceservice.facts import Facts, Identity
from app.inferenceservice.grant import Grant
from app.inferenceservice.plan import Decision
from app.kube.names import CLAIM_LABEL, NAMESPACE_NAME_LABEL, SERVICE_KEY_LABEL, SERVICE_LABEL, label_value

HOST = "kubernetes.io/hostname"
GROUP_KEY = "leaderworkerset.sigs.k8s.io/group-key"
_WHOLE = ["spx_nps1", "spx_nps2", "spx_nps4"]


def service_key(identity: Identity) -> str:
    """Value of a label that tells a service from all others of the cluster."""
    return label_value(f"{identity.namespace}.{identity.name}")


def build_affinity(facts: Facts, decision: Decision) -> V1Affinity | None:
    """The affinity of every pod of a service, None when nothing is asked."""
    terms = list(_anti_affinity_terms(facts, decision.sharing))
    apart = V1PodAntiAffinity(required_during_scheduling_ignored_during_execution=terms) if terms else None
    together = _together(decision.grant, decision.claim_of_one_node)
    nodes = _node_affinity(facts.spec, decision.grant)
    if apart is None and together is None and nodes is None:
        return None
    return V1Affinity(node_affinity=nodes, pod_affinity=together, pod_anti_affinity=apart)


def _together(grant: Grant, claim: str) -> V1PodAffinity | None:
    readers = [_with_readers(claim)] if claim else None
    wishes = None if grant.gated else [_near_services()]
    if readers is None and wishes is None:
        return None
    return V1PodAffinity(
        required_during_scheduling_ignored_during_execution=readers,
        preferred_during_scheduling_ignored_during_execution=wishes,
    )


def _with_readers(claim: str) -> V1PodAffinityTerm:
    """On the node of all that read the claim. The first one matches itself, so Kubernetes lets it go anywhere."""
    readers = V1LabelSelector(match_labels={CLAIM_LABEL: label_value(claim)})
    return V1PodAffinityTerm(topology_key=HOST, label_selector=readers)


def _near_services() -> V1WeightedPodAffinityTerm:
    """A wish, the strongest there is among wishes."""
    anybody = V1LabelSelectorRequirement(key=SERVICE_LABEL, operator="Exists")
    term = V1PodAffinityTerm(
        topology_key=HOST,
        label_selector=V1LabelSelector(match_expressions=[anybody]),
        namespace_selector=_every_namespace(),
    )
    return V1WeightedPodAffinityTerm(weight=100, pod_affinity_term=term)


def _every_namespace() -> V1LabelSelector:
    """An empty selector says the same, but what is empty is not sent; the API server labels every namespace so."""
    named = V1LabelSelectorRequirement(key=NAMESPACE_NAME_LABEL, operator="Exists")
    return V1LabelSelector(match_expressions=[named])


def _anti_affinity_terms(facts: Facts, sharing: Sharing) -> Iterator[V1PodAffinityTerm]:
    identity, spec = facts.identity, facts.spec
    if sharing is Sharing.EXCLUSIVE:
        anybody = V1LabelSelectorRequirement(key=SERVICE_LABEL, operator="Exists")
        not_us = V1LabelSelectorRequirement(key=SERVICE_KEY_LABEL, operator="NotIn", values=[service_key(identity)])
        yield V1PodAffinityTerm(
            topology_key=HOST,
            label_selector=V1LabelSelector(match_expressions=[anybody, not_us]),
            # not "all but ours": kube-scheduler 1.36 takes that for "ours too" when it looks at the pod itself
            namespace_selector=_every_namespace(),
        )
    if spec.resources.strategy is Strategy.STATIC and spec.nodes > 1:
        ours = V1LabelSelector(match_labels={SERVICE_LABEL: identity.name})
        yield V1PodAffinityTerm(topology_key=HOST, label_selector=ours, match_label_keys=[GROUP_KEY])


def _node_affinity(spec: InferenceServiceSpec, grant: Grant) -> V1NodeAffinity | None:
    pool = [
        V1NodeSelectorRequirement(key=it.key, operator=it.operator, values=list(it.values) or None)
        for it in grant.pool_nodes
    ]
    if not (grant.product or pool or spec.resources.gpu.partition):
        return None
    alternatives = _alternatives(spec, grant.product) if grant.product else [_asked_mode(spec)]
    terms = [V1NodeSelectorTerm(match_expressions=wanted + pool) for wanted in alternatives]
    return V1NodeAffinity(required_during_scheduling_ignored_during_execution=V1NodeSelector(node_selector_terms=terms))


def _asked_mode(spec: InferenceServiceSpec) -> list[V1NodeSelectorRequirement]:
    """The partition mode that the spec names, where no product was granted."""
    mode = spec.resources.gpu.partition
    return [V1NodeSelectorRequirement(key=PARTITION_LABEL, operator="In", values=[mode])] if mode else []


def _alternatives(spec: InferenceServiceSpec, product: str) -> list[list[V1NodeSelectorRequirement]]:
    """A resource name such as amd.com/cpx_nps4 tells the mode by itself; else the node's label must, and a node that
    has none offers whole GPUs."""
    mode = spec.partition
    board = product.removesuffix(f"-{mode.upper().replace('_', '-')}") if mode else product
    same_product = V1NodeSelectorRequirement(key=PRODUCT_LABEL, operator="In", values=[board])
    if mode and not spec.resources.gpu.partition:
        return [[same_product]]
    modes = [mode] if mode else _WHOLE
    labelled = [same_product, V1NodeSelectorRequirement(key=PARTITION_LABEL, operator="In", values=modes)]
    unlabelled = [same_product, V1NodeSelectorRequirement(key=PARTITION_LABEL, operator="DoesNotExist")]
    return [labelled] if mode else [labelled, unlabelled]
