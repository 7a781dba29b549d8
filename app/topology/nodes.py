"""Nodes as a pool sees them, and which of them a service may use at all.

A host that offers GPUs under several resource names is several nodes here, one for each name; `host` tells which belong
together. Whether a node may be used does not depend on what is free: first come the reasons that never pass (another
resource, another product, a label), then those that may (a taint, not ready).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

GONE_SECONDS = 300.0
"""A node that has not been ready for so long is given up: Kubernetes evicts its pods then, too."""
UNKNOWN = "unknown"


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
    installed: int = 0
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
    foreign: int | None = 0
    """GPUs in use by pods of no service; None = not known."""

    @property
    def at_best(self) -> int:
        """GPUs once all are well."""
        return max(self.gpus, self.installed)

    @property
    def is_gone(self) -> bool:
        return self.not_ready_seconds is not None and self.not_ready_seconds >= GONE_SECONDS


@dataclass(frozen=True)
class Wish:
    """What a service asks of a node, whatever is free there. Hashable: many services wish the same."""

    resource: str
    products: tuple[str, ...]
    """Products whose memory holds the model, best first; empty = any but those in `unfit`."""
    unfit: tuple[tuple[str, str], ...] = ()
    """Products that cannot hold the model, each with the reason."""
    labels: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    @cached_property
    def reach(self) -> object:
        """Equal for wishes that the same nodes can meet; why the others cannot may differ."""
        return self.resource, self.products, tuple(product for product, _ in self.unfit), self.labels, self.tolerations

    @cached_property
    def reasons(self) -> Mapping[str, str]:
        """By product that cannot hold the model."""
        return dict(self.unfit)

    def find_obstacle(self, node: Node) -> str:
        """Why this node can never be used, or "": the words are part of a sentence about several nodes."""
        return offers_other_resource(self, node) or has_other_product(self, node) or lacks_label(self, node)

    def find_hindrance(self, node: Node) -> str:
        """Why this node cannot be used at present, or ""."""
        return is_not_ready(node) or is_tainted(self, node)


def offers_other_resource(wish: Wish, node: Node) -> str:
    return "" if node.resource == wish.resource else f"offers {node.resource}, not {wish.resource}"


def has_other_product(wish: Wish, node: Node) -> str:
    """An unknown product may hold the model or not: it is no obstacle only where nothing is known of the model."""
    reason = wish.reasons.get(node.product, "")
    if reason:
        return f"{node.product}: {reason}"
    if not wish.products or node.product in wish.products:
        return ""
    return f"product {node.product or UNKNOWN} was not planned for"


def lacks_label(wish: Wish, node: Node) -> str:
    for key, value in wish.labels:
        if node.labels.get(key) != value:
            return f"has no label {key}={value}"
    return ""


def is_tainted(wish: Wish, node: Node) -> str:
    for taint in node.taints:
        if taint.effect != "PreferNoSchedule" and not any(it.covers(taint) for it in wish.tolerations):
            return f"has the taint {taint.key}:{taint.effect}"
    return ""


def is_not_ready(node: Node) -> str:
    return "" if node.not_ready_seconds is None else "is not ready"


class Eligibility:
    """The nodes that wishes may use, found once for each reach: places in the list of nodes, by product."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._now: dict[tuple[object, str], list[int]] = {}
        self._ever: dict[tuple[object, str], list[int]] = {}
        self._products: dict[object, tuple[str, ...]] = {}

    def now(self, wish: Wish, product: str) -> list[int]:
        """Nodes of a product that can be used at present."""
        key = wish.reach, product
        if key not in self._now:
            ever = self.ever(wish, product)
            self._now[key] = [it for it in ever if not wish.find_hindrance(self._nodes[it])]
        return self._now[key]

    def ever(self, wish: Wish, product: str) -> list[int]:
        """Nodes of a product that could be used once they are ready and free of taints."""
        key = wish.reach, product
        if key not in self._ever:
            same = (it for it, node in enumerate(self._nodes) if node.product == product)
            self._ever[key] = [it for it in same if not wish.find_obstacle(self._nodes[it])]
        return self._ever[key]

    def products(self, wish: Wish) -> tuple[str, ...]:
        """Products to try, best first; where nothing was planned, those of the pool in the order of their names."""
        if wish.reach not in self._products:
            wanted = wish.products or sorted({node.product for node in self._nodes})
            self._products[wish.reach] = tuple(product for product in wanted if self.ever(wish, product))
        return self._products[wish.reach]
