"""Verdict -> parallel sizes and memory to show: those granted, else those that would be, else those asked.

Memory is of one GPU. Where no layout fits, the numbers are those of the largest product at hand: they tell by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.cli.decide import Verdict
from app.fit.catalog import ACCELERATORS, Accelerator, partitioned
from app.fit.checks.layout import CERTAIN, Layout
from app.fit.memory.estimate import Engine, MemoryEstimate, estimate
from app.fit.parallelism import Impossible, Parallelism, plan_parallelism
from app.fit.request import Fits
from app.inferenceservice.demand import Need
from app.inferenceservice.facts import Facts
from app.inferenceservice.fit_inputs import parse_engine
from app.inferenceservice.length import find_limit
from app.kube.lenient import count_at, mapping_at, text_at, value_at


@dataclass(frozen=True)
class ShownShape:
    """None = not known, or there is none."""

    product: str | None = None
    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    expert_parallel: bool = False
    max_model_len: int | None = None
    memory: MemoryEstimate | None = None
    fit: Fits | None = None


def shown_shape(verdict: Verdict) -> ShownShape:
    """The sizes of one group."""
    need, granted = verdict.facts.need, mapping_at(verdict.allocation, "spec", "shape")
    if granted and need and text_at(verdict.allocation, "spec", "digest") == need.digest:
        return _granted(verdict, need)
    fit = _would_be(verdict, need) if need else None
    return _fitting(fit) if fit else _asked(verdict)


def _granted(verdict: Verdict, need: Need) -> ShownShape:
    spec = mapping_at(verdict.allocation, "spec")
    product, shape = text_at(spec, "product"), mapping_at(spec, "shape")
    fit = need.find_fit(product)
    told = _told(verdict.facts)
    return ShownShape(
        product=product or None,
        tensor=count_at(shape, "tensor"),
        pipeline=count_at(shape, "pipeline"),
        data=count_at(shape, "data"),
        expert_parallel=value_at(shape, "expertParallel") is True or (fit is None and bool(told.expert_parallel)),
        max_model_len=count_at(shape, "maxModelLen") or told.max_model_len,
        memory=fit.memory if fit else None,
        fit=fit,
    )


def _would_be(verdict: Verdict, need: Need) -> Fits | None:
    """The best product among those of the nodes; where there are none, among all."""
    products = {node.product for node in verdict.pool_nodes}
    at_hand = [fit for fit in need.fits if fit.gpu.key in products]
    return next(iter(at_hand if products - {""} else need.fits), None)


def _fitting(fit: Fits) -> ShownShape:
    sizes = fit.parallelism
    return ShownShape(
        product=fit.gpu.key,
        tensor=sizes.tensor,
        pipeline=sizes.pipeline,
        data=sizes.data,
        expert_parallel=sizes.expert_parallel,
        max_model_len=fit.max_model_len,
        memory=fit.memory,
        fit=fit,
    )


def _asked(verdict: Verdict) -> ShownShape:
    spec, told = verdict.facts.spec, _told(verdict.facts)
    planned = plan_parallelism(spec.demand)
    if isinstance(planned, Impossible):
        given = spec.demand.given
        return ShownShape(None, given.tensor, given.pipeline, given.data, bool(told.expert_parallel))
    sizes = replace(planned, expert_parallel=bool(told.expert_parallel))
    accelerator = _largest(_accelerators(verdict))
    return ShownShape(
        product=accelerator.key if accelerator else None,
        tensor=sizes.tensor,
        pipeline=sizes.pipeline,
        data=sizes.data,
        expert_parallel=sizes.expert_parallel,
        max_model_len=told.max_model_len,
        memory=_memory(verdict, sizes, accelerator) if accelerator else None,
    )


def _told(facts: Facts) -> Engine:
    return parse_engine(facts.spec, find_limit(facts.spec, facts.model))


def _memory(verdict: Verdict, sizes: Parallelism, accelerator: Accelerator) -> MemoryEstimate | None:
    """The arithmetic of something that is refused; None where the sizes have no meaning for the model."""
    model = verdict.facts.model
    if model is None or CERTAIN.evaluate(Layout(model, sizes)):
        return None
    return estimate(model, accelerator, sizes, _told(verdict.facts))


def _accelerators(verdict: Verdict) -> Sequence[Accelerator]:
    """The products of the nodes, as the spec would have them partitioned."""
    products, mode = {node.product for node in verdict.pool_nodes}, verdict.facts.spec.partition
    parts = (partitioned(it, mode) if mode else it for it in ACCELERATORS)
    return [it for it in parts if it and it.key in products]


def _largest(accelerators: Sequence[Accelerator]) -> Accelerator | None:
    return max(accelerators, key=lambda it: (it.memory_bytes, it.key), default=None)
