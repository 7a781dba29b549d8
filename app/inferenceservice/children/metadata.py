"""Labels and annotations of the children."""

from __future__ import annotations

from collections.abc import Mapping

from kubernetes.client.models.v1_object_meta import V1ObjectMeta

from app.inferenceservice.facts import Facts
from app.inferenceservice.plan import Decision, size_source
from app.kube.manifest import SELECTOR_LABEL
from app.kube.names import (
    DECISION_ANNOTATION,
    DIGEST_ANNOTATION,
    MODEL_ANNOTATION,
    REPLAN_ANNOTATION,
    REQUEST_ANNOTATION,
    SIZE_ANNOTATION,
    VERSION_ANNOTATION,
    standard_labels,
)


def child_metadata(name: str, facts: Facts, annotations: Mapping[str, str] | None = None) -> V1ObjectMeta:
    model = facts.spec.model.name
    return V1ObjectMeta(
        name=name,
        namespace=facts.identity.namespace,
        labels=standard_labels("inference", facts.identity.name, model),
        annotations={MODEL_ANNOTATION: model} | dict(annotations or {}),
    )


def workload_labels(facts: Facts) -> dict[str, str]:
    """The parent's own labels, so that teams find their workloads; ours win."""
    theirs = {name: value for name, value in facts.identity.labels if name != SELECTOR_LABEL}
    return theirs | standard_labels("inference", facts.identity.name, facts.spec.model.name)


def workload_metadata(name: str, facts: Facts, decision: Decision, replicas: int | None) -> V1ObjectMeta:
    """What the workload was decided from stands on its metadata, never in its pod template."""
    identity, spec = facts.identity, facts.spec
    source = size_source(spec, replicas, None)
    return V1ObjectMeta(
        name=name,
        namespace=identity.namespace,
        labels=workload_labels(facts),
        annotations={
            MODEL_ANNOTATION: spec.model.name,
            DIGEST_ANNOTATION: decision.digest,
            DECISION_ANNOTATION: decision.parallelism.on(spec.nodes, spec.gpus_per_node),
            REQUEST_ANNOTATION: decision.request,
        }
        | ({VERSION_ANNOTATION: decision.store.version} if decision.store and decision.store.version else {})
        | ({REPLAN_ANNOTATION: identity.replan} if identity.replan else {})
        | ({SIZE_ANNOTATION: source} if source else {}),
    )
