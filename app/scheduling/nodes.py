"""Nodes as a pool sees them, and which of them a service may use at all.

A host that offers GPUs under several resource names is several nodes here, one for each name; `host` tells which belong
together. Whether a node may be used does not depend on what is free: first come the reasons that never pass (another
resource, another product, a label), then those that may (a taint, not ready).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

_PARTITION = re.compile(r"-(?P<mode>[DTQC]PX-NPS[1-8])$")
"""What a key of the catalogue ends in when its units are partitions of a GPU."""
LOST_SECONDS = 300.0
"""A node that has not been ready for so long is given up: Kubernetes evicts its pods then, too."""
UNKNOWN = "unknown"
UNKNOWN_PRODUCT = "has GPUs of an unknown product"
_PARTITIONED = re.compile(r"(.+)-([SDTQC]PX-NPS\d)")


@dataclass(frozen=True)
class Taint:
    """Keeps pods off that do not tolerate it; effect NoSchedule or NoExecute (PreferNoSchedule keeps nobody off)."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class Toleration:
    """What a service puts up with; an empty key means every taint, an empty effect every effect."""

    key: str = ""
    value: str | None = None
    effect: str = ""

    def covers(self, taint: Taint) -> bool:
        same_key = not self.key or self.key == taint.key
        same_value = self.value is None or self.value == taint.value
        return same_key and same_value and self.effect in ("", taint.effect)


@dataclass(frozen=True)
class Node:
    """GPUs of one host under one resource name."""

    host: str
    resource: str
    product: str
    """Key in the accelerator catalogue; "" = not known."""
    gpus: int
    """Allocatable, healthy GPUs."""
    capacity: int = 0
    """GPUs that are there, those that are ill among them; 0 = as many as are allocatable."""
    memory_bytes: int | None = None
    """Of one GPU."""
    island: int = 0
    """GPUs that are linked each with each; 0 = not known."""
    domains: tuple[str, ...] = ()
    """Names from wide to narrow, such as (zone, block, rack), each made unique by its parents; "" = none."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    taints: tuple[Taint, ...] = ()
    not_ready_seconds: float | None = None
    """None = ready."""
    unmanaged_usage: int | None = 0
    """GPUs in use by pods of no service; None = not known."""

    @property
    def at_best(self) -> int:
        """GPUs once all are well."""
        return max(self.gpus, self.capacity)

    @property
    def is_lost(self) -> bool:
        return self.not_ready_seconds is not None and self.not_ready_seconds >= LOST_SECONDS


@dataclass(frozen=True)
class NodeRequirements:
    """What a service asks of a node, whatever is free there. Hashable: many services requirements the same."""

    resource: str
    products: tuple[str, ...]
    """Products whose memory holds the model, best first; empty = any but those in `unfit`."""
    excluded: tuple[tuple[str, str], ...] = ()
    """Products that cannot hold the model, each with the reason."""
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    @cached_property
    def equivalence_class(self) -> object:
        """Equal for requirements that the same nodes can meet; why the others cannot may differ."""
        return (
            self.resource,
            self.products,
            tuple(product for product, _ in self.excluded),
            self.node_selector,
            self.tolerations,
        )

    @cached_property
    def reasons(self) -> Mapping[str, str]:
        """By product that cannot hold the model."""
        return dict(self.excluded)

    def permanent_mismatch(self, node: Node) -> str:
        """Why this node can never be used, or "": the words are part of a sentence about several nodes."""
        checks = (offers_other_resource, has_other_product, offers_partitions, lacks_label)
        return next((why for check in checks if (why := check(self, node))), "")

    def misses_only_product(self, node: Node) -> bool:
        """Whether this node might be used if only its product were known."""
        if node.product or not self.products:
            return False
        return any(not self.permanent_mismatch(replace(node, product=product)) for product in self.products)

    def temporary_mismatch(self, node: Node) -> str:
        """Why this node cannot be used at present, or ""."""
        return is_not_ready(node) or is_tainted(self, node)


def offers_other_resource(requirements: NodeRequirements, node: Node) -> str:
    return "" if node.resource == requirements.resource else f"offers {node.resource}, not {requirements.resource}"


def has_other_product(requirements: NodeRequirements, node: Node) -> str:
    """An unknown product may hold the model or not: it is no obstacle only where nothing is known of the model."""
    reason = requirements.reasons.get(node.product, "")
    if reason:
        return f"{node.product}: {reason}"
    if not requirements.products or node.product in requirements.products:
        return ""
    if not node.product:
        return UNKNOWN_PRODUCT
    return _is_partitioned_otherwise(requirements, node) or f"product {node.product} was not planned for"


def _is_partitioned_otherwise(requirements: NodeRequirements, node: Node) -> str:
    """A partition is a product of its own: MI300X-CPX-NPS4."""
    whole, mode = _partition(node.product)
    asked = {part for product, part in map(_partition, requirements.products) if product == whole}
    if not asked:
        # another partition of a product that cannot hold it in any mode is told by that product's reason
        asked = {part for _, part in map(_partition, requirements.products)} if mode else set()
    if not asked or mode in asked:
        return ""
    wanted = " or ".join(f"partitions {part}" if part else "whole GPUs" for part in sorted(asked))
    if not mode:
        return f"has whole GPUs, not {wanted}"
    return f"is partitioned {mode}, and {wanted} are asked for; resources.gpu.partition {mode} takes such partitions"


def _partition(product: str) -> tuple[str, str]:
    """A product and its partition mode as labels write it, "" for whole GPUs."""
    found = _PARTITIONED.fullmatch(product)
    return (found[1], found[2].lower().replace("-", "_")) if found else (product, "")


def partition_mode(product: str) -> str:
    """The mode of which units of a product are, in the planner's spelling; "" for whole GPUs."""
    found = _PARTITION.search(product)
    return found["mode"].lower().replace("-", "_") if found else ""


def offers_partitions(requirements: NodeRequirements, node: Node) -> str:
    """Where nothing is known of the model, no product was asked for: then whole GPUs are meant, unless the resource's
    name is that of the mode. Partitions that are wanted stand among the products."""
    mode = "" if requirements.products else partition_mode(node.product)
    told = requirements.resource.rpartition("/")[2]
    return f"offers partitions ({mode}), and whole GPUs were asked for" if mode not in ("", told) else ""


def lacks_label(requirements: NodeRequirements, node: Node) -> str:
    for key, value in requirements.node_selector:
        if node.labels.get(key) != value:
            return f"has no label {key}={value}"
    return ""


def is_tainted(requirements: NodeRequirements, node: Node) -> str:
    for taint in node.taints:
        if taint.effect != "PreferNoSchedule" and not any(it.covers(taint) for it in requirements.tolerations):
            return f"has the taint {taint.key}:{taint.effect}"
    return ""


def is_not_ready(node: Node) -> str:
    return "" if node.not_ready_seconds is None else "is not ready"


class Eligibility:
    """The nodes that meet requirements, found once for each equivalence class: places in the list of nodes."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._now: dict[tuple[object, str], list[int]] = {}
        self._ever: dict[tuple[object, str], list[int]] = {}
        self._products: dict[object, tuple[str, ...]] = {}

    def now(self, requirements: NodeRequirements, product: str) -> list[int]:
        """Nodes of a product that can be used at present."""
        key = requirements.equivalence_class, product
        if key not in self._now:
            ever = self.ever(requirements, product)
            self._now[key] = [it for it in ever if not requirements.temporary_mismatch(self._nodes[it])]
        return self._now[key]

    def ever(self, requirements: NodeRequirements, product: str) -> list[int]:
        """Nodes of a product that could be used once they are ready and free of taints."""
        key = requirements.equivalence_class, product
        if key not in self._ever:
            same = (it for it, node in enumerate(self._nodes) if node.product == product)
            self._ever[key] = [it for it in same if not requirements.permanent_mismatch(self._nodes[it])]
        return self._ever[key]

    def nameless(self, requirements: NodeRequirements) -> list[int]:
        """Nodes of which only the product is not known."""
        return [it for it, node in enumerate(self._nodes) if requirements.misses_only_product(node)]

    def products(self, requirements: NodeRequirements) -> tuple[str, ...]:
        """Products to try, best first; where nothing was planned, those of the pool in the order of their names."""
        if requirements.equivalence_class not in self._products:
            wanted = requirements.products or sorted({node.product for node in self._nodes})
            self._products[requirements.equivalence_class] = tuple(
                product for product in wanted if self.ever(requirements, product)
            )
        return self._products[requirements.equivalence_class]
