"""Plan -> desired objects: one builder a child, one expression each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kubernetes.client.models.v1_deployment import V1Deployment
from kubernetes.client.models.v1_deployment_spec import V1DeploymentSpec
from kubernetes.client.models.v1_deployment_strategy import V1DeploymentStrategy
from kubernetes.client.models.v1_label_selector import V1LabelSelector
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_pod_disruption_budget import V1PodDisruptionBudget
from kubernetes.client.models.v1_pod_disruption_budget_spec import V1PodDisruptionBudgetSpec
from kubernetes.client.models.v1_rolling_update_deployment import V1RollingUpdateDeployment
from kubernetes.client.models.v1_service import V1Service
from kubernetes.client.models.v1_service_port import V1ServicePort
from kubernetes.client.models.v1_service_spec import V1ServiceSpec
from kubernetes.client.models.v2_cross_version_object_reference import V2CrossVersionObjectReference
from kubernetes.client.models.v2_horizontal_pod_autoscaler import V2HorizontalPodAutoscaler
from kubernetes.client.models.v2_horizontal_pod_autoscaler_behavior import V2HorizontalPodAutoscalerBehavior
from kubernetes.client.models.v2_horizontal_pod_autoscaler_spec import V2HorizontalPodAutoscalerSpec
from kubernetes.client.models.v2_hpa_scaling_rules import V2HPAScalingRules
from kubernetes.client.models.v2_metric_spec import V2MetricSpec
from kubernetes.client.models.v2_metric_target import V2MetricTarget
from kubernetes.client.models.v2_resource_metric_source import V2ResourceMetricSource

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.contracts.runtime import HTTP_PORT
from app.inferenceservice.facts import Facts, Identity
from app.inferenceservice.keys import build_keys
from app.inferenceservice.names import deployment_name
from app.inferenceservice.network import build_network_policy
from app.inferenceservice.observed import WorkloadKind, WorkloadState
from app.inferenceservice.plan import Blocked, Decision, Plan, Serve, size_source
from app.inferenceservice.pods import group_labels, leader_template, pod_labels, worker_template
from app.inferenceservice.request import build_request
from app.inferenceservice.source import build_cache
from app.ingress.build import build_ingress
from app.kube.duration import whole_seconds
from app.kube.lenient import mapping_at, text_at
from app.kube.lws import LeaderWorkerSet, LeaderWorkerSetSpec, LeaderWorkerTemplate
from app.kube.manifest import SELECTOR_LABEL, Manifest, emit
from app.kube.names import (
    DECISION_ANNOTATION,
    DIGEST_ANNOTATION,
    LEADER,
    MODEL_ANNOTATION,
    REPLAN_ANNOTATION,
    REQUEST_ANNOTATION,
    SIZE_ANNOTATION,
    VERSION_ANNOTATION,
    standard_labels,
)
from app.settings import Settings

ROLLOUT_MARGIN_SECONDS = 600
"""Time for scheduling and image pull, on top of the start budget, before a rollout counts as stuck."""


def build_children(plan: Plan, facts: Facts) -> list[Manifest]:
    """The whole desired state. A blocked plan keeps every child as it is."""
    if isinstance(plan, Blocked):
        return facts.held
    children = [build(facts) for build in _ALWAYS] + [build(facts) for wanted, build in _OPTIONAL if wanted(facts.spec)]
    children += [*build_keys(facts), *build_request(plan, facts)]
    if isinstance(plan, Serve):
        return [*children, build_workload(plan, facts), *_autoscaler(facts)]
    return children + running_workloads(facts, {child["kind"] for child in children})


def running_workloads(facts: Facts, built: set[str]) -> list[Manifest]:
    """While something is waited for, what runs goes on running, with its autoscaler and the cache it mounts; of kinds
    that are `built` anyway there is no second object."""
    running = [state.applied for state in facts.observed.workloads]
    kept = _GO_ON_WITH_PODS - built if running else set()
    return running + [child for child in facts.held if child.get("kind") in kept]


_GO_ON_WITH_PODS = {"HorizontalPodAutoscaler", "ModelCache"}


def build_workload(plan: Serve, facts: Facts) -> Manifest:
    """The workload as it was applied while its spec is unchanged, else as decided now."""
    if plan.kept:
        return _kept_workload(plan.kept, plan.replicas, facts)
    assert plan.decision is not None
    return new_workload(plan.decision, plan.replicas, facts)


def _kept_workload(kept: WorkloadState, replicas: int | None, facts: Facts) -> Manifest:
    """Spec untouched but for replicas; labels follow the parent's, which restart nothing."""
    rest = {key: value for key, value in kept.applied.get("spec", {}).items() if key != "replicas"}
    spec = rest | ({"replicas": replicas} if replicas is not None else {})
    labels = _workload_labels(facts.identity, facts.spec)
    own = text_at(kept.applied, "metadata", "labels", SELECTOR_LABEL)
    source = {SIZE_ANNOTATION: size_source(facts.spec, replicas, kept)}
    annotations = {**mapping_at(kept.applied, "metadata", "annotations"), **source}
    metadata = kept.applied["metadata"] | {
        "labels": labels | ({SELECTOR_LABEL: own} if own else {}),
        "annotations": {name: value for name, value in annotations.items() if value},
    }
    return kept.applied | {"spec": spec, "metadata": metadata}


def new_workload(decision: Decision, replicas: int | None, facts: Facts) -> Manifest:
    """The Deployment or LeaderWorkerSet of a decision."""
    build = build_deployment if decision.kind is WorkloadKind.DEPLOYMENT else build_leader_worker_set
    return build(facts.identity, facts.spec, decision, replicas, facts.settings)


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
        metadata=_workload_metadata(deployment_name(identity.name), identity, spec, decision, replicas),
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
            metadata=_workload_metadata(identity.name, identity, spec, decision, replicas),
            spec=LeaderWorkerSetSpec(
                replicas=replicas,
                leader_worker_template=LeaderWorkerTemplate(
                    leader_template=leader_template(identity, spec, decision, settings),
                    worker_template=worker_template(identity, spec, decision, settings),
                    size=decision.shape.nodes,
                ),
            ),
        )
    )


def build_service(facts: Facts) -> Manifest:
    """The stable address of the service: leaders' API port, and the metrics port that leads to the same."""
    networking, monitoring = facts.spec.networking, facts.spec.monitoring
    metrics = monitoring.enabled and monitoring.prometheus.port != networking.ports.http
    return emit(
        V1Service(
            api_version="v1",
            kind="Service",
            metadata=_metadata(facts.identity.name, facts, annotations=_scrape_annotations(facts.spec)),
            spec=V1ServiceSpec(
                type=networking.service_type.value,
                selector=pod_labels(facts.identity, LEADER),
                ports=[_port("http", networking.ports.http)]
                + ([_port("metrics", monitoring.prometheus.port)] if metrics else []),
            ),
        )
    )


def build_budget(facts: Facts) -> Manifest:
    """Voluntary disruptions take one group at a time. A group is lost with any of its pods, so the workers are counted,
    too: how many pods should be there, Kubernetes reads from the StatefulSets of LeaderWorkerSet."""
    grouped = facts.kind is WorkloadKind.LEADER_WORKER_SET
    return emit(
        V1PodDisruptionBudget(
            api_version="policy/v1",
            kind="PodDisruptionBudget",
            metadata=_metadata(facts.identity.name, facts),
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


def build_own_network_policy(facts: Facts) -> Manifest:
    name = facts.identity.name
    return build_network_policy(_metadata(name, facts), name, facts.settings.client_namespaces)


def build_own_ingress(facts: Facts) -> Manifest:
    networking = facts.spec.networking
    metadata = _metadata(facts.identity.name, facts, annotations=networking.ingress.annotations)
    return emit(build_ingress(metadata, networking.ingress, facts.identity.name, networking.ports.http))


def build_autoscaler(facts: Facts) -> Manifest:
    """Scales groups by the leaders' CPU use, through the workload's scale subresource."""
    scaling = facts.spec.autoscaling
    target = V2MetricTarget(type="Utilization", average_utilization=scaling.target_utilization)
    return emit(
        V2HorizontalPodAutoscaler(
            api_version="autoscaling/v2",
            kind="HorizontalPodAutoscaler",
            metadata=_metadata(facts.identity.name, facts),
            spec=V2HorizontalPodAutoscalerSpec(
                scale_target_ref=_scale_target(facts),
                min_replicas=scaling.min_replicas,
                max_replicas=scaling.max_replicas or scaling.min_replicas,
                metrics=[V2MetricSpec(type="Resource", resource=V2ResourceMetricSource(name="cpu", target=target))],
                behavior=V2HorizontalPodAutoscalerBehavior(
                    scale_down=V2HPAScalingRules(stabilization_window_seconds=whole_seconds(scaling.scale_down_delay))
                ),
            ),
        )
    )


def _autoscaler(facts: Facts) -> list[Manifest]:
    return [build_autoscaler(facts)] if facts.spec.autoscaling.enabled else []


def _scale_target(facts: Facts) -> V2CrossVersionObjectReference:
    if facts.kind is WorkloadKind.DEPLOYMENT:
        name = deployment_name(facts.identity.name)
        return V2CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name=name)
    return V2CrossVersionObjectReference(
        api_version="leaderworkerset.x-k8s.io/v1", kind="LeaderWorkerSet", name=facts.identity.name
    )


def _port(name: str, number: int) -> V1ServicePort:
    return V1ServicePort(name=name, port=number, target_port="http", protocol="TCP")


def _scrape_annotations(spec: InferenceServiceSpec) -> dict[str, str] | None:
    """On the Service, not on pods: switching monitoring restarts nothing. The port is the pods' own, because by this
    convention Prometheus scrapes the addresses behind the Service."""
    if not spec.monitoring.enabled:
        return None
    return {
        "prometheus.io/path": spec.monitoring.prometheus.path,
        "prometheus.io/port": str(HTTP_PORT),
        "prometheus.io/scrape": "true",
    }


def _metadata(name: str, facts: Facts, annotations: Mapping[str, str] | None = None) -> V1ObjectMeta:
    model = facts.spec.model.name
    return V1ObjectMeta(
        name=name,
        namespace=facts.identity.namespace,
        labels=standard_labels("inference", facts.identity.name, model),
        annotations={MODEL_ANNOTATION: model} | dict(annotations or {}),
    )


def _workload_labels(identity: Identity, spec: InferenceServiceSpec) -> dict[str, str]:
    """The parent's own labels, so that teams find their workloads; ours win."""
    theirs = {name: value for name, value in identity.labels if name != SELECTOR_LABEL}
    return theirs | standard_labels("inference", identity.name, spec.model.name)


def _workload_metadata(
    name: str, identity: Identity, spec: InferenceServiceSpec, decision: Decision, replicas: int | None
) -> V1ObjectMeta:
    """What the workload was decided from stands on its metadata, never in its pod template."""
    source = size_source(spec, replicas, None)
    return V1ObjectMeta(
        name=name,
        namespace=identity.namespace,
        labels=_workload_labels(identity, spec),
        annotations={
            MODEL_ANNOTATION: spec.model.name,
            DIGEST_ANNOTATION: decision.digest,
            DECISION_ANNOTATION: str(decision.shape),
            REQUEST_ANNOTATION: decision.request,
        }
        | ({VERSION_ANNOTATION: decision.store.version} if decision.store and decision.store.version else {})
        | ({REPLAN_ANNOTATION: identity.replan} if identity.replan else {})
        | ({SIZE_ANNOTATION: source} if source else {}),
    )


_ALWAYS: tuple[Callable[[Facts], Manifest], ...] = (build_service, build_budget, build_own_network_policy)
_OPTIONAL: tuple[tuple[Callable[[InferenceServiceSpec], bool], Callable[[Facts], Manifest]], ...] = (
    (lambda spec: spec.networking.ingress.enabled, build_own_ingress),
    (lambda spec: spec.model.source is not None, build_cache),
)
