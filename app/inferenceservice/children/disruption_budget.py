"""Voluntary disruptions take one group at a time."""

from __future__ import annotations

from kubernetes.client.models.v1_label_selector import V1LabelSelector
from kubernetes.client.models.v1_pod_disruption_budget import V1PodDisruptionBudget
from kubernetes.client.models.v1_pod_disruption_budget_spec import V1PodDisruptionBudgetSpec

from app.inferenceservice.children.metadata import child_metadata
from app.inferenceservice.children.pod_template import group_labels, pod_labels
from app.inferenceservice.facts import Facts
from app.inferenceservice.observe import WorkloadKind
from app.kube.manifest import Manifest, emit
from app.kube.names import (
    LEADER,
)


def build_budget(facts: Facts) -> Manifest:
    """Voluntary disruptions take one group at a time. A group is lost with any of its pods, so the workers are counted,
    too: how many pods should be there, Kubernetes reads from the StatefulSets of LeaderWorkerSet."""
    grouped = facts.kind is WorkloadKind.LEADER_WORKER_SET
    return emit(
        V1PodDisruptionBudget(
            api_version="policy/v1",
            kind="PodDisruptionBudget",
            metadata=child_metadata(facts.identity.name, facts),
            spec=V1PodDisruptionBudgetSpec(
                max_unavailable=1,
                selector=V1LabelSelector(
                    match_labels=group_labels(facts.identity) if grouped else pod_labels(facts.identity, LEADER)
                ),
                # A leader that loads or crashes serves nobody: it must not hold up the drain of its node.
                unhealthy_pod_eviction_policy="AlwaysAllow",
            ),
        )
    )
