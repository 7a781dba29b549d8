"""The HorizontalPodAutoscaler, which scales whole groups."""

from __future__ import annotations

from kubernetes.client.models.v2_cross_version_object_reference import V2CrossVersionObjectReference
from kubernetes.client.models.v2_horizontal_pod_autoscaler import V2HorizontalPodAutoscaler
from kubernetes.client.models.v2_horizontal_pod_autoscaler_behavior import V2HorizontalPodAutoscalerBehavior
from kubernetes.client.models.v2_horizontal_pod_autoscaler_spec import V2HorizontalPodAutoscalerSpec
from kubernetes.client.models.v2_hpa_scaling_rules import V2HPAScalingRules
from kubernetes.client.models.v2_metric_spec import V2MetricSpec
from kubernetes.client.models.v2_metric_target import V2MetricTarget
from kubernetes.client.models.v2_resource_metric_source import V2ResourceMetricSource

from app.inferenceservice.children.metadata import child_metadata
from app.inferenceservice.facts import Facts
from app.inferenceservice.names import deployment_name
from app.inferenceservice.observe import WorkloadKind
from app.kube.duration import whole_seconds
from app.kube.manifest import Manifest, emit


def build_autoscaler(facts: Facts) -> Manifest:
    """Scales groups by the leaders' CPU use, through the workload's scale subresource."""
    scaling = facts.spec.autoscaling
    target = V2MetricTarget(type="Utilization", average_utilization=scaling.target_utilization)
    return emit(
        V2HorizontalPodAutoscaler(
            api_version="autoscaling/v2",
            kind="HorizontalPodAutoscaler",
            metadata=child_metadata(facts.identity.name, facts),
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


def _scale_target(facts: Facts) -> V2CrossVersionObjectReference:
    if facts.kind is WorkloadKind.DEPLOYMENT:
        name = deployment_name(facts.identity.name)
        return V2CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name=name)
    return V2CrossVersionObjectReference(
        api_version="leaderworkerset.x-k8s.io/v1", kind="LeaderWorkerSet", name=facts.identity.name
    )
