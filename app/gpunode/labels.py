"""The labels of a Node that its GPUNode repeats: all that a selector may ask for.

Left out is what only counts or describes: the labeller's beta.amd.com/ counters, the exporter's health (it is in
spec.unhealthyGpus), aliases that Kubernetes gave up long ago, and node feature discovery's lists of CPU and kernel
features, which are a hundred labels a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from app.api.v1alpha1.gpunode import NODE_LABELS, PARTITION_LABEL, PRODUCT_LABEL

_LEFT_OUT = (
    "beta.amd.com/",
    "beta.kubernetes.io/",
    "failure-domain.beta.kubernetes.io/",
    "feature.node.kubernetes.io/cpu-",
    "feature.node.kubernetes.io/kernel-",
    "metricsexporter.amd.com.gpu.",
)


def own_labels(product: str | None, partition: str | None) -> dict[str, str | None]:
    """What the operator writes on the Node, for pods to select; None removes a label."""
    return {PRODUCT_LABEL: product, PARTITION_LABEL: partition}


def selectable_labels(labels: Mapping[str, str], own: Mapping[str, str | None]) -> dict[str, str]:
    """Sorted; the operator's own labels are as they will be, not as they still are."""
    kept = {key: value for key, value in labels.items() if not key.startswith(_LEFT_OUT)}
    after: dict[str, str | None] = {**kept, **own}
    return dict(islice(((key, value) for key, value in sorted(after.items()) if value is not None), NODE_LABELS))
