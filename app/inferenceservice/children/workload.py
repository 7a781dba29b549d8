"""The Deployment or LeaderWorkerSet: as it was applied while its spec is unchanged, else as decided now."""

from __future__ import annotations

from kubernetes.client.models.v1_deployment import V1Deployment
from kubernetes.client.models.v1_deployment_spec import V1DeploymentSpec
from kubernetes.client.models.v1_deployment_strategy import V1DeploymentStrategy
from kubernetes.client.models.v1_label_selector import V1LabelSelector
from kubernetes.client.models.v1_rolling_update_deployment import V1RollingUpdateDeployment

from app.inferenceservice.children.metadata import workload_labels, workload_metadata
from app.inferenceservice.children.pod_template import leader_template, pod_labels, worker_template
from app.inferenceservice.facts import Facts
from app.inferenceservice.names import deployment_name
from app.inferenceservice.observe import WorkloadKind, WorkloadState
from app.inferenceservice.plan import Decision, Plan, Serve, size_source
from app.kube.duration import whole_seconds
from app.kube.lenient import mapping_at, text_at
from app.kube.lws import LeaderWorkerSet, LeaderWorkerSetSpec, LeaderWorkerTemplate
from app.kube.manifest import SELECTOR_LABEL, Manifest, emit
from app.kube.names import (
    LEADER,
    SIZE_ANNOTATION,
)

ROLLOUT_MARGIN_SECONDS = 600
"""Time for scheduling and image pull, on top of the start budget, before a rollout counts as stuck."""


def build_today(plan: Plan, facts: Facts) -> Manifest | None:
    """The workload of today's decision: the answer where none is kept, else what the kept one is compared with."""
    if not isinstance(plan, Serve) or plan.decision is None:
        return None
    decision = plan.decision
    build = build_deployment if decision.kind is WorkloadKind.DEPLOYMENT else build_leader_worker_set
    return build(facts, decision, plan.replicas)


def build_kept(kept: WorkloadState, replicas: int | None, facts: Facts) -> Manifest:
    """Spec untouched but for replicas; labels follow the parent's, which restart nothing."""
    rest = {key: value for key, value in kept.applied.get("spec", {}).items() if key != "replicas"}
    spec = rest | ({"replicas": replicas} if replicas is not None else {})
    labels = workload_labels(facts)
    own = text_at(kept.applied, "metadata", "labels", SELECTOR_LABEL)
    source = {SIZE_ANNOTATION: size_source(facts.spec, replicas, kept)}
    annotations = {**mapping_at(kept.applied, "metadata", "annotations"), **source}
    metadata = kept.applied["metadata"] | {
        "labels": labels | ({SELECTOR_LABEL: own} if own else {}),
        "annotations": {name: value for name, value in annotations.items() if value},
    }
    return kept.applied | {"spec": spec, "metadata": metadata}


def build_deployment(facts: Facts, decision: Decision, replicas: int | None) -> Manifest:
    """A service whose groups are single pods. GPUs are scarce, so a pod goes before its successor comes."""
    deployment = V1Deployment(
        api_version="apps/v1",
        kind="Deployment",
        metadata=workload_metadata(deployment_name(facts.identity.name), facts, decision, replicas),
        spec=V1DeploymentSpec(
            replicas=replicas,
            selector=V1LabelSelector(match_labels=pod_labels(facts.identity, LEADER)),
            strategy=V1DeploymentStrategy(
                type="RollingUpdate", rolling_update=V1RollingUpdateDeployment(max_surge=0, max_unavailable=1)
            ),
            progress_deadline_seconds=whole_seconds(facts.settings.start_budget) + ROLLOUT_MARGIN_SECONDS,
            template=leader_template(facts, decision),
        ),
    )
    return emit(deployment)


def build_leader_worker_set(facts: Facts, decision: Decision, replicas: int | None) -> Manifest:
    """A service whose groups span nodes."""
    return emit(
        LeaderWorkerSet(
            metadata=workload_metadata(facts.identity.name, facts, decision, replicas),
            spec=LeaderWorkerSetSpec(
                replicas=replicas,
                leader_worker_template=LeaderWorkerTemplate(
                    leader_template=leader_template(facts, decision),
                    worker_template=worker_template(facts, decision),
                    size=facts.spec.nodes,
                ),
            ),
        )
    )
