"""The GPUNode of a Node, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.api.schema import API_VERSION
from app.api.v1alpha1.gpunode import KIND, GPUNodeSpec, Resource
from app.gpunode.checks import CONTRADICTIONS
from app.gpunode.facts import Facts
from app.gpunode.inventory import Inventory
from app.gpunode.labels import selectable_labels
from app.kube.manifest import Manifest
from app.kube.names import OPERATOR
from app.settings import Settings


def build_spec(facts: Facts, inventory: Inventory, own: Mapping[str, str | None], settings: Settings) -> GPUNodeSpec:
    """`own`: the labels that the operator writes on the Node."""
    node, product = facts.node, facts.product
    return GPUNodeSpec(
        product=product.key if product else None,
        source=facts.source,
        gfx=product.gfx if product else None,
        summary=summarise(inventory.resources),
        resources=list(inventory.resources),
        island=inventory.island,
        zone=node.labels.get(settings.zone_label) or None,
        block=node.labels.get(settings.block_label) or None,
        rack=node.labels.get(settings.rack_label) or None,
        labels=selectable_labels(node.labels, own),
        taints=list(node.taints),
        not_ready_since=node.not_ready_since,
        unhealthy_gpus=inventory.unhealthy or None,
        contradictions=list(CONTRADICTIONS.evaluate_all(facts)),
    )


def summarise(resources: Sequence[Resource]) -> str:
    """For one column of a table: 8; 7 of 8 spx_nps1; 32 cpx_nps4 + 4 spx_nps1."""
    return " + ".join(_in_words(resource) for resource in resources) or "0"


def _in_words(resource: Resource) -> str:
    whole = resource.gpus == resource.capacity
    count = f"{resource.gpus}" if whole else f"{resource.gpus} of {resource.capacity}"
    return f"{count} {resource.partition}" if resource.partition else count


def build_attachment(name: str, spec: GPUNodeSpec) -> Manifest:
    """The GPUNode has the Node's name and goes with it. Empty lists are left out, empty label values are not."""
    content = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND.name,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": OPERATOR}},
        "spec": {key: value for key, value in content.items() if value not in ([], {})},
    }
