"""All that a GPUNode is made from: the Node, AMD's labels on it, and the product that they tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.api.v1alpha1.gpunode import Source
from app.fit.catalog import ACCELERATORS, Accelerator, find_accelerator, partitioned
from app.gpunode.node_labels import LabelledHardware, has_hardware_labels, read_hardware_labels
from app.gpunode.observe import Node, observe
from app.metacontroller.protocol import Parent
from app.settings import Settings

# Node feature discovery writes these for PCI devices of AMD; AMD's GPU operator selects its nodes by them.
_DISCOVERED = ("feature.node.kubernetes.io/amd-gpu", "feature.node.kubernetes.io/amd-vgpu")


@dataclass(frozen=True)
class Facts:
    node: Node
    labelled: LabelledHardware
    declared: str
    """What an administrator says the product is, "" when nothing."""
    product: Accelerator | None
    """None: unknown, or more than one."""
    source: Source

    def share(self, mode: str) -> Accelerator | None:
        """One GPU in a partition mode; None when the product is unknown or the catalogue knows no such mode of it."""
        if self.product is None or mode.startswith("spx"):
            return self.product
        return partitioned(self.product, mode)

    def parts(self, mode: str) -> int | None:
        """Partitions that a mode makes of one GPU; None when that is not known."""
        if mode.startswith("spx"):
            return 1
        share = self.share(mode)
        return share.island if share else None

    @property
    def most_whole(self) -> int | None:
        """The most unpartitioned GPUs in one node; None where the product tells none.

        Products that can be partitioned are sold in AMD's platforms; others are cards that come in any number.
        """
        return self.product.per_node if self.product and self.product.partitions else None


def gather_facts(node: Parent, settings: Settings) -> Facts | None:
    """The facts of an AMD node; None for any other node."""
    seen = observe(node, settings.gpu_resource)
    if not _is_amd(seen, settings.node_selector):
        return None
    labelled, declared = read_hardware_labels(seen.labels), seen.labels.get(settings.declared_product_label, "")
    product, source = _identified(labelled, declared)
    return Facts(seen, labelled, declared, product, source)


def _is_amd(node: Node, selector: Mapping[str, str]) -> bool:
    """By what the device plugin offers, by label, or by the selector that the settings name."""
    discovered = any(node.labels.get(label) == "true" for label in _DISCOVERED)
    selected = bool(selector) and selector.items() <= node.labels.items()
    return bool(node.resources) or has_hardware_labels(node.labels) or discovered or selected


def _identified(labelled: LabelledHardware, declared: str) -> tuple[Accelerator | None, Source]:
    """The first kind of sign that tells a product; when it tells two, pods cannot choose, so it tells none."""
    told = (
        (Source.DEVICE_ID, products_by_id(labelled)),
        (Source.PRODUCT_NAME, products_by_name(labelled)),
        (Source.DECLARED, _known([find_declared(declared)])),
    )
    source, products = next(((source, found) for source, found in told if found), (Source.UNKNOWN, ()))
    return (products[0], source) if len(products) == 1 else (None, Source.UNKNOWN)


def products_by_id(labelled: LabelledHardware) -> tuple[Accelerator, ...]:
    """The products that the device ids name; ids of other chips, such as a CPU's own graphics, name none."""
    return _known(find_accelerator(device_id=device_id) for device_id in labelled.device_ids)


def products_by_name(labelled: LabelledHardware) -> tuple[Accelerator, ...]:
    """By AMD's name; some drivers tell its last word alone."""
    return _known(find_declared(name) for name in labelled.product_names)


def find_declared(declared: str) -> Accelerator | None:
    """The product an administrator means, by its key (MI300X) or by AMD's name."""
    by_key = (item for item in ACCELERATORS if item.key.lower() == declared.lower())
    return next(by_key, None) or find_accelerator(product_name=declared)


def _known(found: Iterable[Accelerator | None]) -> tuple[Accelerator, ...]:
    return tuple(sorted({item for item in found if item}, key=lambda item: item.key))
