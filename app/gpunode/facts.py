"""All that a GPUNode is made from: the Node, AMD's labels on it, and the product that they tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.api.v1alpha1.gpunode import Source
from app.fit.catalog import ACCELERATORS, Accelerator, find_accelerator, partitioned
from app.gpunode.node_labels import Signs, has_signs, read_signs
from app.gpunode.observe import Node, observe
from app.metacontroller.protocol import Parent
from app.settings import Settings

# Node feature discovery writes these for PCI devices of AMD; AMD's GPU operator selects its nodes by them.
_DISCOVERED = ("feature.node.kubernetes.io/amd-gpu", "feature.node.kubernetes.io/amd-vgpu")


@dataclass(frozen=True)
class Facts:
    node: Node
    signs: Signs
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
    signs, declared = read_signs(seen.labels), seen.labels.get(settings.declared_product_label, "")
    product, source = _identified(signs, declared)
    return Facts(seen, signs, declared, product, source)


def _is_amd(node: Node, selector: Mapping[str, str]) -> bool:
    """By what the device plugin offers, by label, or by the selector that the settings name."""
    discovered = any(node.labels.get(label) == "true" for label in _DISCOVERED)
    selected = bool(selector) and selector.items() <= node.labels.items()
    return bool(node.offers) or has_signs(node.labels) or discovered or selected


def _identified(signs: Signs, declared: str) -> tuple[Accelerator | None, Source]:
    """The first kind of sign that tells a product; when it tells two, pods cannot choose, so it tells none."""
    told = (
        (Source.DEVICE_ID, products_by_id(signs)),
        (Source.PRODUCT_NAME, products_by_name(signs)),
        (Source.DECLARED, _known([find_declared(declared)])),
    )
    source, products = next(((source, found) for source, found in told if found), (Source.UNKNOWN, ()))
    return (products[0], source) if len(products) == 1 else (None, Source.UNKNOWN)


def products_by_id(signs: Signs) -> tuple[Accelerator, ...]:
    """The products that the device ids name; ids of other chips, such as a CPU's own graphics, name none."""
    return _known(find_accelerator(device_id=device_id) for device_id in signs.device_ids)


def products_by_name(signs: Signs) -> tuple[Accelerator, ...]:
    """By AMD's name; some drivers tell its last word alone."""
    return _known(find_declared(name) for name in signs.product_names)


def find_declared(declared: str) -> Accelerator | None:
    """The product an administrator means, by its key (MI300X) or by AMD's name."""
    by_key = (item for item in ACCELERATORS if item.key.lower() == declared.lower())
    return next(by_key, None) or find_accelerator(product_name=declared)


def _known(found: Iterable[Accelerator | None]) -> tuple[Accelerator, ...]:
    return tuple(sorted({item for item in found if item}, key=lambda item: item.key))
