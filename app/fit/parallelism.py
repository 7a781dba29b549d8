"""How the GPUs of one group are used: tensor x pipeline x data parallel, over nodes.

One group holds G GPUs on N nodes, g = G / N on each (vLLM needs equal counts on all nodes), and

    TP x PP x DP x PCP = G        tensor, pipeline, data and prefill-context parallel size

A copy of the model has TP x PP x PCP GPUs. It fills whole nodes or shares one evenly: vLLM gives each node the same
number of copies, or each copy the same number of nodes. Ray places copies itself, so there any layout is possible.

Precedence: sizes the user gave > autoOptimize > the strategy's default. What is left when some sizes were given is
filled by DP; when DP was given too, by the sizes that were not.

    static           one GPU a node: N = G; TP = 1, PP = G
    dynamic          TP = 1, PP = G; with autoOptimize TP = the largest power of two that divides g, PP = N, DP = rest
    topology-aware   as dynamic

Where copies would lie unevenly, PP is the next larger size with which they do not (TP, when PP was given).

A power of two, because attention heads must divide by TP and published models have 2^k x small heads; TP stays
inside a node, where GPUs are linked by XGMI, and PP goes across nodes, where little is sent.
Source: vLLM 0.33 ParallelConfig (world size must be a multiple of nnodes; nnodes_within_dp); docs of vLLM on
multi-node serving.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    STATIC = "static"
    DYNAMIC = "dynamic"
    TOPOLOGY_AWARE = "topology-aware"


@dataclass(frozen=True)
class Given:
    """Parallel sizes the user fixed; None = not said."""

    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    prefill_context: int | None = None

    @property
    def product(self) -> int:
        return (self.tensor or 1) * (self.pipeline or 1) * (self.data or 1) * (self.prefill_context or 1)

    @property
    def any_given(self) -> bool:
        return any((self.tensor, self.pipeline, self.data))


@dataclass(frozen=True)
class Demand:
    """What one group asks for: pieces of GPUs and nodes."""

    gpus: int
    nodes: int
    strategy: Strategy
    auto_optimize: bool
    given: Given
    even_copies: bool = True
    """Copies must fill whole nodes or share one evenly."""

    @property
    def gpus_per_node(self) -> int:
        return self.gpus // self.nodes

    @property
    def prefill_context(self) -> int:
        return self.given.prefill_context or 1

    def allows(self, copy: int) -> bool:
        """Whether copies of so many GPUs can be laid on the nodes."""
        return not self.even_copies or lies_evenly(copy, self.gpus_per_node)


@dataclass(frozen=True)
class Shape:
    """One group's layout; tensor x pipeline x data (x prefill-context) = nodes x gpus_per_node."""

    tensor: int
    pipeline: int
    data: int
    nodes: int
    gpus_per_node: int

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    def __str__(self) -> str:
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        return (
            f"TP {self.tensor} x PP {self.pipeline} x DP {self.data} on {nodes} with {_gpus(self.gpus_per_node)} each"
        )


@dataclass(frozen=True)
class Impossible:
    """No layout exists; the message names the numbers and what would work."""

    message: str


def plan_shape(demand: Demand) -> Shape | Impossible:
    """The layout of one group, from what the spec says alone."""
    problem = _contradiction(demand)
    if problem:
        return Impossible(problem)
    tensor, pipeline, data = _filled(demand) if demand.given.any_given else _chosen(demand)
    return Shape(tensor, pipeline, data, demand.nodes, demand.gpus_per_node)


def lies_evenly(copy: int, gpus_per_node: int) -> bool:
    """Whether a copy of so many GPUs fills whole nodes, or shares one with others and leaves none of its GPUs over."""
    return copy % gpus_per_node == 0 or gpus_per_node % copy == 0


def _contradiction(demand: Demand) -> str:
    gpus, nodes, given = demand.gpus, demand.nodes, demand.given
    if demand.strategy is Strategy.STATIC and nodes != gpus:
        return (
            f"strategy static places one GPU on each node, so totalGpus {gpus} needs distributed.size {gpus}, "
            f"not {nodes}: set distributed.size to {gpus}, or use strategy dynamic"
        )
    if gpus % nodes:
        lower, upper = gpus - gpus % nodes, gpus + nodes - gpus % nodes
        return (
            f"totalGpus {gpus} cannot be split evenly over {nodes} nodes: "
            f"use {f'{lower} or ' if lower else ''}{upper} GPUs, or another number of nodes"
        )
    if gpus % given.product or (_all_given(given) and gpus != given.product):
        return (
            f"{_product_text(given)} = {given.product} cannot make totalGpus {gpus}: "
            f"the sizes of tensor, pipeline and data parallelism must multiply to {gpus}"
        )
    copy = _fixed_copy(demand)
    if copy and not demand.allows(copy):
        lower = max(size for size in divisors(gpus) if size < copy and demand.allows(size))
        upper = min(size for size in divisors(gpus) if size > copy and demand.allows(size))
        return (
            f"{_product_text(given)} makes copies of {_gpus(copy)}, which cannot be laid evenly on nodes of "
            f"{demand.gpus_per_node}: use copies (TP x PP) of {lower} or {_gpus(upper)}, or another number of nodes"
        )
    return ""


def _fixed_copy(demand: Demand) -> int | None:
    """GPUs of one copy, where the given sizes leave no choice."""
    given = demand.given
    if given.data is not None:
        return demand.gpus // given.data
    return given.product if given.tensor is not None and given.pipeline is not None else None


def _all_given(given: Given) -> bool:
    return None not in (given.tensor, given.pipeline, given.data)


def _product_text(given: Given) -> str:
    sizes = {"TP": given.tensor, "PP": given.pipeline, "DP": given.data, "PCP": given.prefill_context}
    return " x ".join(f"{name} {size}" for name, size in sizes.items() if size is not None)


def _filled(demand: Demand) -> tuple[int, int, int]:
    """Some sizes were given: DP takes the rest, or, when DP was given, the sizes that were not."""
    given, rest = demand.given, demand.gpus // demand.given.product
    if given.data is None:
        missing = _evening(demand, given.product)
        return given.tensor or missing, given.pipeline or missing, rest // missing
    if given.tensor is None and given.pipeline is None:
        tensor = _power_of_two_in(rest, demand.gpus_per_node) if demand.auto_optimize else 1
        return tensor, rest // tensor, given.data
    if given.tensor is None:
        return rest, given.pipeline or 1, given.data
    return given.tensor, given.pipeline or rest, given.data


def _chosen(demand: Demand) -> tuple[int, int, int]:
    """No size was given: autoOptimize, else the strategy's default."""
    world = demand.gpus // demand.prefill_context
    if not demand.auto_optimize or demand.strategy is Strategy.STATIC:
        return 1, world, 1
    tensor = _power_of_two_in(world, demand.gpus_per_node)
    wanted = demand.nodes if (world // tensor) % demand.nodes == 0 else 1
    pipeline = _evening(demand, tensor * demand.prefill_context, wanted)
    return tensor, pipeline, world // tensor // pipeline


def _evening(demand: Demand, part: int, least: int = 1) -> int:
    """The smallest size, not below `least`, that makes of a part of a copy one that lies evenly on the nodes. There is
    one: with all GPUs in one copy."""
    return next(size for size in divisors(demand.gpus // part) if size >= least and demand.allows(part * size))


def _power_of_two_in(world: int, gpus_per_node: int) -> int:
    """The largest power of two that divides both the world size and the GPUs of one node."""
    both = world & -world, gpus_per_node & -gpus_per_node
    return min(both)


def divisors(number: int) -> list[int]:
    """In ascending order."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
