"""Whether a pool could ever hold a group: if nobody else were there and every node and GPU were well.

Nodes are alike when they have as many GPUs in islands of the same size, so a pool of thousands is a few kinds of node,
and the question costs as little for the two thousandth service as for the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from app.scheduling.nodes import Eligibility, Node
from app.scheduling.placement import slots_on
from app.scheduling.request import PlacementRequest

_EXAMPLE = Node("", "", "", 0)
_NAMELESS = "?"
"""Stands for the nodes of which only the product is not known."""


class Feasibility:
    """What the nodes of a pool hold at best."""

    def __init__(self, nodes: Sequence[Node], eligible: Eligibility) -> None:
        self._nodes, self._eligible = nodes, eligible
        self._kinds: dict[tuple[object, str], list[tuple[Node, int]]] = {}
        self._known: dict[object, bool] = {}

    def is_possible(self, request: PlacementRequest) -> bool:
        key = request.footprint
        if key not in self._known:
            products = self._eligible.products(request.requirements)
            # unknown is neither zero nor enough: who might fit there waits until the product is known
            self._known[key] = any(self._holds(request, product) for product in (*products, _NAMELESS))
        return self._known[key]

    def _holds(self, request: PlacementRequest, product: str) -> bool:
        group = request.group("" if product == _NAMELESS else product)
        return (
            sum(slots_on(group, node, node.gpus) * count for node, count in self._kinds_of(request, product))
            >= request.nodes
        )

    def _kinds_of(self, request: PlacementRequest, product: str) -> list[tuple[Node, int]]:
        key = request.requirements.equivalence_class, product
        if key not in self._kinds:
            nameless = product == _NAMELESS
            places = (
                self._eligible.nameless(request.requirements)
                if nameless
                else self._eligible.ever(request.requirements, product)
            )
            nodes = (self._nodes[place] for place in places)
            alike = Counter((node.at_best, node.island) for node in nodes)
            self._kinds[key] = [
                (replace(_EXAMPLE, gpus=gpus, island=island), count) for (gpus, island), count in sorted(alike.items())
            ]
        return self._kinds[key]
