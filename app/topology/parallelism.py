"""How the GPUs of one group are used: tensor x pipeline x data parallel, over nodes.

One group holds G GPUs on N nodes, g = G / N on each (vLLM needs equal counts on all nodes), and

    TP x PP x DP x PCP = G        tensor, pipeline, data and prefill-context parallel size

Precedence: sizes the user gave > autoOptimize > the strategy's default. What is left when some sizes were given is
filled by DP; when DP was given too, by the sizes that were not.

    static           one GPU a node: N = G; TP = 1, PP = G
    dynamic          TP = 1, PP = G; with autoOptimize TP = the largest power of two that divides g, PP = N, DP = rest
    topology-aware   as dynamic

A power of two, because attention heads must divide by TP and published models have 2^k x small heads; TP stays
inside a node, where GPUs are linked by XGMI, and PP goes across nodes, where little is sent.
Source: vLLM 0.33 ParallelConfig (world size must be a multiple of nnodes); docs of vLLM on multi-node serving.
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
    return Shape(tensor, pipeline, data, demand.nodes, demand.gpus // demand.nodes)


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
    return ""


def _all_given(given: Given) -> bool:
    return None not in (given.tensor, given.pipeline, given.data)


def _product_text(given: Given) -> str:
    sizes = {"TP": given.tensor, "PP": given.pipeline, "DP": given.data, "PCP": given.prefill_context}
    return " x ".join(f"{name} {size}" for name, size in sizes.items() if size is not None)


def _filled(demand: Demand) -> tuple[int, int, int]:
    """Some sizes were given: DP takes the rest, or, when DP was given, the sizes that were not."""
    given, rest = demand.given, demand.gpus // demand.given.product
    if given.data is None:
        return given.tensor or 1, given.pipeline or 1, rest
    if given.tensor is None and given.pipeline is None:
        tensor = _power_of_two_in(rest, demand.gpus // demand.nodes) if demand.auto_optimize else 1
        return tensor, rest // tensor, given.data
    if given.tensor is None:
        return rest, given.pipeline or 1, given.data
    return given.tensor, given.pipeline or rest, given.data


def _chosen(demand: Demand) -> tuple[int, int, int]:
    """No size was given: autoOptimize, else the strategy's default."""
    world = demand.gpus // (demand.given.prefill_context or 1)
    if not demand.auto_optimize or demand.strategy is Strategy.STATIC:
        return 1, world, 1
    tensor = _power_of_two_in(world, demand.gpus // demand.nodes)
    pipeline = demand.nodes if (world // tensor) % demand.nodes == 0 else 1
    return tensor, pipeline, world // tensor // pipeline


def _power_of_two_in(world: int, gpus_per_node: int) -> int:
    """The largest power of two that divides both the world size and the GPUs of one node."""
    both = world & -world, gpus_per_node & -gpus_per_node
    return min(both)


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
