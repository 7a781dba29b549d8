"""PlanResult -> parallel sizes and memory to show: those granted, else those that would be, else those asked.

Memory is of one GPU. Where no layout fits, the numbers are those of the largest product at hand: they tell by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.api.v1alpha1.gpurequest import Shape
from app.cli.decide import PlanResult
from app.fit.catalog import ACCELERATORS, Accelerator, partitioned
from app.fit.checks.layout import CERTAIN, Layout
from app.fit.memory.estimate import Engine, MemoryEstimate, estimate
from app.fit.parallelism import GivenSizes, Impossible, Parallelism, plan_parallelism
from app.fit.request import Fits
from app.inferenceservice.demand import Need
from app.inferenceservice.facts import Facts
from app.inferenceservice.fit_inputs import parse_engine
from app.inferenceservice.length import find_limit


@dataclass(frozen=True)
class DisplayedShape:
    """The sizes of one group, and what they mean for a GPU."""

    sizes: Shape | GivenSizes
    """As they are given where they make no shape."""
    expert_parallel: bool
    memory: MemoryEstimate | None = None
    fit: Fits | None = None

    @property
    def product(self) -> str | None:
        return (self.sizes.product if isinstance(self.sizes, Shape) else None) or None

    @property
    def max_model_len(self) -> int | None:
        return self.sizes.max_model_len if isinstance(self.sizes, Shape) else None


def displayed_shape(result: PlanResult) -> DisplayedShape:
    """The sizes of one group."""
    need, allocation = result.facts.need, result.allocation
    if allocation and allocation.shape and need and allocation.digest == need.digest:
        return _granted(result, need, allocation.product, allocation.shape)
    fit = _would_be(result, need) if need else None
    return _fitting(fit) if fit else _asked(result)


def _granted(result: PlanResult, need: Need, product: str | None, shape: Shape) -> DisplayedShape:
    fit = need.find_fit(product or "")
    engine = _engine(result.facts)
    return DisplayedShape(
        sizes=shape.model_copy(
            update={"product": product, "max_model_len": shape.max_model_len or engine.max_model_len}
        ),
        expert_parallel=shape.expert_parallel or (fit is None and bool(engine.expert_parallel)),
        memory=fit.memory if fit else None,
        fit=fit,
    )


def _would_be(result: PlanResult, need: Need) -> Fits | None:
    """The best product among those of the nodes; where there are none, among all."""
    products = {node.product for node in result.pool_nodes}
    at_hand = [fit for fit in need.fits if fit.gpu.key in products]
    return next(iter(at_hand if products - {""} else need.fits), None)


def _fitting(fit: Fits) -> DisplayedShape:
    shape = _shape(fit.parallelism, fit.gpu, fit.max_model_len)
    return DisplayedShape(shape, fit.parallelism.expert_parallel, fit.memory, fit)


def _asked(result: PlanResult) -> DisplayedShape:
    spec, engine = result.facts.spec, _engine(result.facts)
    expert_parallel = bool(engine.expert_parallel)
    planned = plan_parallelism(spec.demand)
    if isinstance(planned, Impossible):
        return DisplayedShape(spec.demand.given, expert_parallel)
    sizes = replace(planned, expert_parallel=expert_parallel)
    accelerator = _largest(_accelerators(result))
    memory = _memory(result, sizes, accelerator) if accelerator else None
    return DisplayedShape(_shape(sizes, accelerator, engine.max_model_len), expert_parallel, memory)


def _shape(sizes: Parallelism, accelerator: Accelerator | None, max_model_len: int | None) -> Shape:
    """Unchecked: what is asked is shown as it is."""
    return Shape.model_construct(
        product=accelerator.key if accelerator else None,
        tensor=sizes.tensor,
        pipeline=sizes.pipeline,
        data=sizes.data,
        expert_parallel=sizes.expert_parallel,
        max_model_len=max_model_len,
    )


def _engine(facts: Facts) -> Engine:
    return parse_engine(facts.spec, find_limit(facts.spec, facts.model))


def _memory(result: PlanResult, sizes: Parallelism, accelerator: Accelerator) -> MemoryEstimate | None:
    """The arithmetic of something that is refused; None where the sizes have no meaning for the model."""
    model = result.facts.model
    if model is None or CERTAIN.evaluate(Layout(model, sizes)):
        return None
    return estimate(model, accelerator, sizes, _engine(result.facts))


def _accelerators(result: PlanResult) -> Sequence[Accelerator]:
    """The products of the nodes, as the spec would have them partitioned."""
    products, mode = {node.product for node in result.pool_nodes}, result.facts.spec.partition
    parts = (partitioned(it, mode) if mode else it for it in ACCELERATORS)
    return [it for it in parts if it and it.key in products]


def _largest(accelerators: Sequence[Accelerator]) -> Accelerator | None:
    return max(accelerators, key=lambda it: (it.memory_bytes, it.key), default=None)
