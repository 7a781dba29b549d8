"""What is asked of the planner for one kind of GPU, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from app.fit.accelerators import Accelerator
from app.fit.layout import Layout
from app.fit.memory import STANDARD_OVERHEAD, Memory, Needs, Overhead, estimate
from app.fit.models import ModelFacts
from app.fit.parallelism import Demand, Shape, Strategy


@dataclass(frozen=True)
class Rejected:
    """An alternative and, in words, why it was not taken."""

    layout: Layout
    reason: str


@dataclass(frozen=True)
class Choice:
    """A legal layout that fits."""

    shape: Shape
    expert_parallel: bool
    memory: Memory
    reason: str
    rejected: tuple[Rejected, ...] = ()

    @property
    def layout(self) -> Layout:
        return Layout(self.shape.tensor, self.shape.pipeline, self.shape.data, self.expert_parallel)


@dataclass(frozen=True)
class Unfit:
    """No layout of these GPUs is legal and fits; the reason has the numbers of the one that came nearest."""

    reason: str
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True)
class Question:
    """What is asked: this model, on GPUs of this kind, with this demand."""

    model: ModelFacts
    accelerator: Accelerator
    demand: Demand
    needs: Needs
    overhead: Overhead = STANDARD_OVERHEAD

    @property
    def gpus_per_node(self) -> int:
        return self.demand.gpus_per_node

    @property
    def is_free(self) -> bool:
        """Whether sizes may be chosen."""
        demand, given = self.demand, self.demand.given
        sizes_given = given.tensor is not None or given.pipeline is not None
        return demand.auto_optimize and demand.strategy is not Strategy.STATIC and not sizes_given

    def memory(self, layout: Layout) -> Memory:
        return estimate(self.model, self.accelerator, layout, self.needs, self.overhead)
