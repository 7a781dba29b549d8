"""The Deployment or LeaderWorkerSet: as it was applied while its spec is unchanged, else as decided now."""

from __future__ import annotations

from kubernetes.client.models.v1_deployment import V1Deployment
from kubernetes.client.models.v1_deployment_spec import V1DeploymentSpec
from kubernetes.client.models.v1_deployment_strategy import V1DeploymentStrategy
from kubernetes.client.models.v1_label_selector import V1LabelSelector
from kubernetes.client.models.v1_rolling_update_deployment import V1RollingUpdateDeployment

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.inferenceservice.children.metadata import workload_labels, workload_metadata
from app.inferenceservice.children.pod_template import leader_template, pod_labels, worker_template
from app.inferenceservice.facts import Facts, Identity
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
from app.settings import Settings

ROLLOUT_MARGIN_SECONDS = 600
"""Time for scheduling and image pull, on top of the start budget, before a rollout counts as stuck."""


def build_today(plan: Plan, facts: Facts) -> Manifest | None:
    """The workload of today's decision: the answer where none is kept, else what the kept one is compared with."""
    if not isinstance(plan, Serve) or plan.decision is None:
        return None
    decision = plan.decision
    build = build_deployment if decision.kind is WorkloadKind.DEPLOYMENT else build_leader_worker_set
    return build(facts.identity, facts.spec, decision, plan.replicas, facts.settings)


def build_kept(kept: WorkloadState, replicas: int | None, facts: Facts) -> Manifest:
    """Spec untouched but for replicas; labels follow the parent's, which restart nothing."""
    rest = {key: value for key, value in kept.applied.get("spec", {}).items() if key != "replicas"}
    spec = rest | ({"replicas": replicas} if replicas is not None else {})
    labels = workload_labels(facts.identity, facts.spec)
    own = text_at(kept.applied, "metadata", "labels", SELECTOR_LABEL)
    source = {SIZE_ANNOTATION: size_source(facts.spec, replicas, kept)}
    annotations = {**mapping_at(kept.applied, "metadata", "annotations"), **source}
    metadata = kept.applied["metadata"] | {
        "labels": labels | ({SELECTOR_LABEL: own} if own else {}),
        "annotations": {name: value for name, value in annotations.items() if value},
    }
    return kept.applied | {"spec": spec, "metadata": metadata}


def build_deployment(
    identity: Identity,
    spec: InferenceServiceSpec,
    decision: Decision,
    replicas: int | None,
    settings: Settings,
) -> Manifest:
    """A service whose groups are single pods. GPUs are scarce, so a pod goes before its successor comes."""
    deployment = V1Deployment(
        api_version="apps/v1",
        kind="Deployment",
        metadata=workload_metadata(deployment_name(identity.name), identity, spec, decision, replicas),
        spec=V1DeploymentSpec(
            replicas=replicas,
            selector=V1LabelSelector(match_labels=pod_labels(identity, LEADER)),
            strategy=V1DeploymentStrategy(
                type="RollingUpdate", rolling_update=V1RollingUpdateDeployment(max_surge=0, max_unavailable=1)
            ),
            progress_deadline_seconds=whole_seconds(settings.start_budget) + ROLLOUT_MARGIN_SECONDS,
            template=leader_template(identity, spec, decision, settings),
        ),
    )
    return emit(deployment)


def build_leader_worker_set(
    identity: Identity,
    spec: InferenceServiceSpec,
    decision: Decision,
    replicas: int | None,
    settings: Settings,
) -> Manifest:
    """A service whose groups span nodes."""
    return emit(
        LeaderWorkerSet(
            metadata=workload_metadata(identity.name, identity, spec, decision, replicas),
            spec=LeaderWorkerSetSpec(
                replicas=replicas,
                leader_worker_template=LeaderWorkerTemplate(
                    leader_template=leader_template(identity, spec, decision, settings),
                    worker_template=worker_template(identity, spec, decision, settings),
                    size=spec.nodes,
                ),
            ),
        )
    )
