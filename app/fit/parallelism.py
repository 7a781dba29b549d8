"""How the GPUs of one group share a model: tensor x pipeline x data parallel, over nodes.

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
class Parallelism:
    """Parallel sizes, in GPUs: tensor x pipeline GPUs hold one copy of the model, data is the number of copies."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert_parallel: bool = False
    """Each expert stays whole on one GPU, instead of a slice of every expert on each."""

    @property
    def copy(self) -> int:
        """GPUs of one copy, without those that prefill context adds."""
        return self.tensor * self.pipeline

    @property
    def expert_ranks(self) -> int:
        """GPUs over which the experts of a layer are divided: copies share them (vLLM, with or without
        expert parallelism)."""
        return self.tensor * self.data

    def __str__(self) -> str:
        return f"{self._sizes} with expert parallelism" if self.expert_parallel else self._sizes

    def on(self, nodes: int, gpus_per_node: int) -> str:
        """In words, with the nodes of the group."""
        return f"{self._sizes} on {'1 node' if nodes == 1 else f'{nodes} nodes'} with {_gpus(gpus_per_node)} each"

    @property
    def _sizes(self) -> str:
        return f"TP {self.tensor} x PP {self.pipeline} x DP {self.data}"


@dataclass(frozen=True)
class GivenSizes:
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
class ParallelismRequest:
    """The GPUs and nodes of one group, and what the user says of how they are used."""

    gpus: int
    nodes: int
    strategy: Strategy
    auto_optimize: bool
    given: GivenSizes
    even_copies: bool = True
    """Copies must fill whole nodes or share one evenly."""

    @property
    def gpus_per_node(self) -> int:
        return self.gpus // self.nodes

    @property
    def prefill_context(self) -> int:
        return self.given.prefill_context or 1

    @property
    def leaves_choice(self) -> bool:
        """Whether the planner may choose sizes."""
        sizes_given = self.given.tensor is not None or self.given.pipeline is not None
        return self.auto_optimize and self.strategy is not Strategy.STATIC and not sizes_given

    def allows(self, copy: int) -> bool:
        """Whether copies of so many GPUs can be laid on the nodes."""
        return not self.even_copies or lies_evenly(copy, self.gpus_per_node)


@dataclass(frozen=True)
class Impossible:
    """No sizes do; the message names the numbers and what would work."""

    message: str


def plan_parallelism(request: ParallelismRequest) -> Parallelism | Impossible:
    """The sizes of one group, from what the spec says alone."""
    if problem := _contradiction(request):
        return Impossible(problem)
    tensor, pipeline, data = _filled(request) if request.given.any_given else _chosen(request)
    return Parallelism(tensor, pipeline, data)


def lies_evenly(copy: int, gpus_per_node: int) -> bool:
    """Whether a copy of so many GPUs fills whole nodes, or shares one with others and leaves none of its GPUs over."""
    return copy % gpus_per_node == 0 or gpus_per_node % copy == 0


def _contradiction(request: ParallelismRequest) -> str | None:
    gpus, nodes, given = request.gpus, request.nodes, request.given
    if request.strategy is Strategy.STATIC and nodes != gpus:
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
    copy = _fixed_copy(request)
    if copy and not request.allows(copy):
        lower = max(size for size in divisors(gpus) if size < copy and request.allows(size))
        upper = min(size for size in divisors(gpus) if size > copy and request.allows(size))
        return (
            f"{_product_text(given)} makes copies of {_gpus(copy)}, which cannot be laid evenly on nodes of "
            f"{request.gpus_per_node}: use copies (TP x PP) of {lower} or {_gpus(upper)}, or another number of nodes"
        )
    return None


def _fixed_copy(request: ParallelismRequest) -> int | None:
    """GPUs of one copy, where the given sizes leave no choice."""
    given = request.given
    if given.data is not None:
        return request.gpus // given.data
    return given.product if given.tensor is not None and given.pipeline is not None else None


def _all_given(given: GivenSizes) -> bool:
    return None not in (given.tensor, given.pipeline, given.data)


def _product_text(given: GivenSizes) -> str:
    sizes = {"TP": given.tensor, "PP": given.pipeline, "DP": given.data, "PCP": given.prefill_context}
    return " x ".join(f"{name} {size}" for name, size in sizes.items() if size is not None)


def _filled(request: ParallelismRequest) -> tuple[int, int, int]:
    """Some sizes were given: DP takes the rest, or, when DP was given, the sizes that were not."""
    given, rest = request.given, request.gpus // request.given.product
    if given.data is None:
        missing = _evening(request, given.product)
        return given.tensor or missing, given.pipeline or missing, rest // missing
    if given.tensor is None and given.pipeline is None:
        tensor = _power_of_two_in(rest, request.gpus_per_node) if request.auto_optimize else 1
        return tensor, rest // tensor, given.data
    if given.tensor is None:
        return rest, given.pipeline or 1, given.data
    return given.tensor, given.pipeline or rest, given.data


def _chosen(request: ParallelismRequest) -> tuple[int, int, int]:
    """No size was given: autoOptimize, else the strategy's default."""
    world = request.gpus // request.prefill_context
    if not request.auto_optimize or request.strategy is Strategy.STATIC:
        return 1, world, 1
    tensor = _power_of_two_in(world, request.gpus_per_node)
    wanted = request.nodes if (world // tensor) % request.nodes == 0 else 1
    pipeline = _evening(request, tensor * request.prefill_context, wanted)
    return tensor, pipeline, world // tensor // pipeline


def _evening(request: ParallelismRequest, part: int, least: int = 1) -> int:
    """The smallest size, not below `least`, that makes of a part of a copy one that lies evenly on the nodes. There is
    one: with all GPUs in one copy."""
    return next(size for size in divisors(request.gpus // part) if size >= least and request.allows(part * size))


def _power_of_two_in(world: int, gpus_per_node: int) -> int:
    """The largest power of two that divides both the world size and the GPUs of one node."""
    both = world & -world, gpus_per_node & -gpus_per_node
    return min(both)


def divisors(number: int) -> list[int]:
    """In ascending order."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
