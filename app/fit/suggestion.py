"""What would work, when nothing does: the fewest GPUs on which the model fits as the engine needs it.

Tried are one GPU on each node and more, up to a full node (beyond eight only even parts of one), on as many nodes as
were asked for and on two, four and eight times as many, never fewer GPUs than were asked for; first as the spec says,
then with sizes left to autoOptimize.
Among the GPU kinds that fit on equally few, the one with room for the most tokens wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from app.fit.accelerators import Accelerator
from app.fit.fit import Fits, fit_products
from app.fit.memory import STANDARD_OVERHEAD, Needs, Overhead, least_bytes
from app.fit.models import ModelFacts
from app.fit.parallelism import Demand, Given, Strategy

TIMES_THE_NODES = (1, 2, 4, 8)
EVERY_SIZE = 8
"""GPUs of a node up to which every number is tried; nodes have more only where GPUs are partitioned."""


@dataclass(frozen=True)
class Suggestion:
    """A demand that can be met, and how."""

    demand: Demand
    fit: Fits

    def __str__(self) -> str:
        nodes, each = self.fit.shape.nodes, self.fit.shape.gpus_per_node
        where = f"1 node with {each}" if nodes == 1 else f"{nodes} nodes with {each} each"
        how = " with autoOptimize" if self.demand.auto_optimize else ""
        gpus = f"{self.demand.gpus} {self.fit.accelerator.key} GPU{'s' * (self.demand.gpus > 1)}"
        return f"it would fit on {gpus} ({where}){how}: {self.fit.reason}"


def find_suggestion(
    model: ModelFacts,
    demand: Demand,
    needs: Needs,
    accelerators: Sequence[Accelerator],
    architectures: Collection[str] | None = None,
    overhead: Overhead = STANDARD_OVERHEAD,
) -> Suggestion | None:
    """The smallest demand that fits on one of the accelerators; None when none of those tried does."""
    least = least_bytes(model, needs)
    for larger in _larger(demand, max((item.per_node for item in accelerators), default=0)):
        roomy = [
            item
            for item in accelerators
            if larger.gpus <= item.per_node * larger.nodes and least <= larger.gpus * item.memory_bytes
        ]
        answers = fit_products(model, larger, needs, roomy, architectures, overhead)
        fitting = [answer for answer in answers if isinstance(answer, Fits)]
        if fitting:
            return Suggestion(larger, max(fitting, key=lambda fit: fit.memory.tokens * fit.shape.data))
    return None


def _larger(demand: Demand, per_node: int) -> Iterator[Demand]:
    """Demands from few GPUs to many; of equally many GPUs, those on fewer nodes first."""
    parts = [each for each in range(1, per_node + 1) if each <= EVERY_SIZE or per_node % each == 0]
    sizes = ((nodes, each) for nodes in _nodes(demand) for each in parts)
    for nodes, each in sorted(sizes, key=lambda size: (size[0] * size[1], size[0])):
        if nodes * each >= demand.gpus:
            yield replace(demand, gpus=nodes * each, nodes=nodes)
            yield _freed(demand, nodes * each, nodes)


def _nodes(demand: Demand) -> list[int]:
    return [demand.nodes * times for times in TIMES_THE_NODES]


def _freed(demand: Demand, gpus: int, nodes: int) -> Demand:
    """The same GPUs with sizes left to autoOptimize."""
    strategy = Strategy.DYNAMIC if demand.strategy is Strategy.STATIC else demand.strategy
    return Demand(gpus, nodes, strategy, auto_optimize=True, given=Given())
