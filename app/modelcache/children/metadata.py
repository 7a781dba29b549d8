"""Labels and annotations of a cache's children."""

from __future__ import annotations

from kubernetes.client.models.v1_object_meta import V1ObjectMeta

from app.kube.names import CACHE_LABEL, MODEL_ANNOTATION, label_value, standard_labels
from app.modelcache.facts import Facts

DOWNLOADER = "model-downloader"


def build_metadata(name: str, component: str, facts: Facts) -> V1ObjectMeta:
    return V1ObjectMeta(
        name=name,
        namespace=facts.namespace,
        labels=build_labels(component, facts),
        annotations={MODEL_ANNOTATION: facts.spec.model_name},
    )


def build_labels(component: str, facts: Facts) -> dict[str, str]:
    return {**standard_labels(component, facts.cache, facts.spec.model_name), CACHE_LABEL: label_value(facts.cache)}
