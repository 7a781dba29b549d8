"""What would work, when nothing does: the fewest GPUs on which the model fits as the engine needs it.

Tried are one GPU on each node and more, up to a full node (beyond eight only even parts of one), on as many nodes as
were asked for and on two, four and eight times as many, never fewer GPUs than were asked for; first as the spec says,
then with sizes left to autoOptimize.
Among the GPU kinds that fit on equally few, the one with room for the most tokens wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.fit.catalog import Accelerator
from app.fit.fit import fit_products
from app.fit.memory.estimate import Engine, least_bytes
from app.fit.model import ModelFacts
from app.fit.parallelism import GivenSizes, ParallelismRequest, Strategy
from app.fit.request import Fits

TIMES_THE_NODES = (1, 2, 4, 8)
EVERY_SIZE = 8
"""GPUs of a node up to which every number is tried; nodes have more only where GPUs are partitioned."""


@dataclass(frozen=True)
class Suggestion:
    """A request that can be met, and how."""

    parallelism: ParallelismRequest
    fit: Fits

    def __str__(self) -> str:
        nodes, each = self.parallelism.nodes, self.parallelism.gpus_per_node
        where = f"1 node with {each}" if nodes == 1 else f"{nodes} nodes with {each} each"
        how = " with autoOptimize" if self.parallelism.auto_optimize else ""
        gpus = f"{self.parallelism.gpus} {self.fit.gpu.key} GPU{'s' * (self.parallelism.gpus > 1)}"
        return f"it would fit on {gpus} ({where}){how}: {self.fit.reason}"


def find_suggestion(
    model: ModelFacts,
    parallelism: ParallelismRequest,
    engine: Engine,
    gpus: Sequence[Accelerator],
) -> Suggestion | None:
    """The smallest request that fits on one of these GPU products; None when none of those tried does."""
    least = least_bytes(model, engine)
    for larger in _larger(parallelism, max((item.per_node for item in gpus), default=0)):
        roomy = [
            item
            for item in gpus
            if larger.gpus <= item.per_node * larger.nodes and least <= larger.gpus * item.memory_bytes
        ]
        answers = fit_products(model, larger, engine, roomy)
        fitting = [answer for answer in answers if isinstance(answer, Fits)]
        if fitting:
            return Suggestion(larger, max(fitting, key=lambda fit: fit.memory.tokens * fit.parallelism.data))
    return None


def _larger(asked: ParallelismRequest, per_node: int) -> Iterator[ParallelismRequest]:
    """Requests from few GPUs to many; of equally many GPUs, those on fewer nodes first."""
    parts = [each for each in range(1, per_node + 1) if each <= EVERY_SIZE or per_node % each == 0]
    sizes = ((nodes, each) for nodes in _nodes(asked) for each in parts)
    for nodes, each in sorted(sizes, key=lambda size: (size[0] * size[1], size[0])):
        if nodes * each >= asked.gpus:
            yield replace(asked, gpus=nodes * each, nodes=nodes)
            yield _freed(asked, nodes * each, nodes)


def _nodes(asked: ParallelismRequest) -> list[int]:
    return [asked.nodes * times for times in TIMES_THE_NODES]


def _freed(asked: ParallelismRequest, gpus: int, nodes: int) -> ParallelismRequest:
    """The same GPUs with sizes left to autoOptimize."""
    strategy = Strategy.DYNAMIC if asked.strategy is Strategy.STATIC else asked.strategy
    return ParallelismRequest(gpus, nodes, strategy, auto_optimize=True, given=GivenSizes())
