"""PlanResult -> parallel sizes and memory to show: those granted, else those that would be, else those asked.

Memory is of one GPU. Where no layout fits, the numbers are those of the largest product at hand: they tell by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.cli.decide import PlanResult
from app.fit.accelerators import ACCELERATORS, Accelerator, partitioned
from app.fit.fit import Fits
from app.fit.layout import Layout
from app.fit.legality import find_obstacle
from app.fit.memory import Memory, Needs, estimate
from app.fit.parallelism import Impossible, plan_shape
from app.inferenceservice.demand import Need
from app.inferenceservice.engine_needs import engine_needs
from app.inferenceservice.facts import Facts
from app.inferenceservice.length import find_limit
from app.kube.lenient import count_at, mapping_at, text_at, value_at


@dataclass(frozen=True)
class DisplayedShape:
    """None = not known, or there is none."""

    product: str | None = None
    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    expert_parallel: bool = False
    max_model_len: int | None = None
    memory: Memory | None = None
    fit: Fits | None = None


def displayed_shape(result: PlanResult) -> DisplayedShape:
    """The sizes of one group."""
    need, granted = result.facts.need, mapping_at(result.allocation, "spec", "shape")
    if granted and need and text_at(result.allocation, "spec", "digest") == need.digest:
        return _granted(result, need)
    fit = _would_be(result, need) if need else None
    return _fitting(fit) if fit else _asked(result)


def _granted(result: PlanResult, need: Need) -> DisplayedShape:
    spec = mapping_at(result.allocation, "spec")
    product, shape = text_at(spec, "product"), mapping_at(spec, "shape")
    fit = need.find_fit(product)
    told = _told(result.facts)
    return DisplayedShape(
        product=product or None,
        tensor=count_at(shape, "tensor"),
        pipeline=count_at(shape, "pipeline"),
        data=count_at(shape, "data"),
        expert_parallel=value_at(shape, "expertParallel") is True or (fit is None and bool(told.expert_parallel)),
        max_model_len=count_at(shape, "maxModelLen") or told.max_model_len,
        memory=fit.memory if fit else None,
        fit=fit,
    )


def _would_be(result: PlanResult, need: Need) -> Fits | None:
    """The best product among those of the nodes; where there are none, among all."""
    products = {node.product for node in result.pool_nodes}
    at_hand = [fit for fit in need.fits if fit.accelerator.key in products]
    return next(iter(at_hand if products - {""} else need.fits), None)


def _fitting(fit: Fits) -> DisplayedShape:
    shape = fit.shape
    return DisplayedShape(
        product=fit.accelerator.key,
        tensor=shape.tensor,
        pipeline=shape.pipeline,
        data=shape.data,
        expert_parallel=fit.expert_parallel,
        max_model_len=fit.max_model_len,
        memory=fit.memory,
        fit=fit,
    )


def _asked(result: PlanResult) -> DisplayedShape:
    spec, told = result.facts.spec, _told(result.facts)
    shape = plan_shape(spec.demand)
    if isinstance(shape, Impossible):
        given = spec.demand.given
        return DisplayedShape(None, given.tensor, given.pipeline, given.data, bool(told.expert_parallel))
    layout = Layout(shape.tensor, shape.pipeline, shape.data, bool(told.expert_parallel))
    accelerator = _largest(_accelerators(result))
    return DisplayedShape(
        product=accelerator.key if accelerator else None,
        tensor=layout.tensor,
        pipeline=layout.pipeline,
        data=layout.data,
        expert_parallel=layout.expert_parallel,
        max_model_len=told.max_model_len,
        memory=_memory(result, layout, accelerator) if accelerator else None,
    )


def _told(facts: Facts) -> Needs:
    return engine_needs(facts.spec, find_limit(facts.spec, facts.model))


def _memory(result: PlanResult, layout: Layout, accelerator: Accelerator) -> Memory | None:
    """The arithmetic of something that is refused; None where the layout has no meaning for the model."""
    model = result.facts.model
    if model is None or find_obstacle(model, layout, tolerant=True):
        return None
    return estimate(model, accelerator, layout, _told(result.facts))


def _accelerators(result: PlanResult) -> Sequence[Accelerator]:
    """The products of the nodes, as the spec would have them partitioned."""
    products, mode = {node.product for node in result.pool_nodes}, result.facts.spec.partition
    parts = (partitioned(it, mode) if mode else it for it in ACCELERATORS)
    return [it for it in parts if it and it.key in products]


def _largest(accelerators: Sequence[Accelerator]) -> Accelerator | None:
    return max(accelerators, key=lambda it: (it.memory_bytes, it.key), default=None)
