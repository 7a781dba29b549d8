"""PlanResult -> parallel sizes and memory to show: those granted, else those that would be, else those asked.

Memory is of one GPU. Where no layout fits, the numbers are those of the largest product at hand: they tell by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.api.v1alpha1.gpurequest import Shape
from app.cli.decide import PlanResult
from app.fit.accelerators import ACCELERATORS, Accelerator, partitioned
from app.fit.fit import Fits
from app.fit.layout import Layout
from app.fit.legality import find_obstacle
from app.fit.memory import Memory, Needs, estimate
from app.fit.parallelism import Given, Impossible, plan_shape
from app.fit.parallelism import Shape as Parallelism
from app.inferenceservice.demand import Need
from app.inferenceservice.engine_needs import engine_needs
from app.inferenceservice.facts import Facts
from app.inferenceservice.length import find_limit


@dataclass(frozen=True)
class DisplayedShape:
    """The sizes of one group, and what they mean for a GPU."""

    sizes: Shape | Given
    """As they are given where they make no shape."""
    expert_parallel: bool
    memory: Memory | None = None
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
    needs = _needs(result.facts)
    return DisplayedShape(
        sizes=shape.model_copy(
            update={"product": product, "max_model_len": shape.max_model_len or needs.max_model_len}
        ),
        expert_parallel=shape.expert_parallel or (fit is None and bool(needs.expert_parallel)),
        memory=fit.memory if fit else None,
        fit=fit,
    )


def _would_be(result: PlanResult, need: Need) -> Fits | None:
    """The best product among those of the nodes; where there are none, among all."""
    products = {node.product for node in result.pool_nodes}
    at_hand = [fit for fit in need.fits if fit.accelerator.key in products]
    return next(iter(at_hand if products - {""} else need.fits), None)


def _fitting(fit: Fits) -> DisplayedShape:
    shape = _shape(fit.shape, fit.accelerator, fit.max_model_len)
    return DisplayedShape(shape, fit.expert_parallel, fit.memory, fit)


def _asked(result: PlanResult) -> DisplayedShape:
    spec, needs = result.facts.spec, _needs(result.facts)
    expert_parallel = bool(needs.expert_parallel)
    sizes = plan_shape(spec.demand)
    if isinstance(sizes, Impossible):
        return DisplayedShape(spec.demand.given, expert_parallel)
    layout = Layout(sizes.tensor, sizes.pipeline, sizes.data, expert_parallel)
    accelerator = _largest(_accelerators(result))
    memory = _memory(result, layout, accelerator) if accelerator else None
    return DisplayedShape(_shape(sizes, accelerator, needs.max_model_len), expert_parallel, memory)


def _shape(sizes: Parallelism, accelerator: Accelerator | None, max_model_len: int | None) -> Shape:
    """Unchecked: what is asked is shown as it is."""
    return Shape.model_construct(
        product=accelerator.key if accelerator else None,
        tensor=sizes.tensor,
        pipeline=sizes.pipeline,
        data=sizes.data,
        max_model_len=max_model_len,
    )


def _needs(facts: Facts) -> Needs:
    return engine_needs(facts.spec, find_limit(facts.spec, facts.model))


def _memory(result: PlanResult, layout: Layout, accelerator: Accelerator) -> Memory | None:
    """The arithmetic of something that is refused; None where the layout has no meaning for the model."""
    model = result.facts.model
    if model is None or find_obstacle(model, layout, tolerant=True):
        return None
    return estimate(model, accelerator, layout, _needs(result.facts))


def _accelerators(result: PlanResult) -> Sequence[Accelerator]:
    """The products of the nodes, as the spec would have them partitioned."""
    products, mode = {node.product for node in result.pool_nodes}, result.facts.spec.partition
    parts = (partitioned(it, mode) if mode else it for it in ACCELERATORS)
    return [it for it in parts if it and it.key in products]


def _largest(accelerators: Sequence[Accelerator]) -> Accelerator | None:
    return max(accelerators, key=lambda it: (it.memory_bytes, it.key), default=None)
