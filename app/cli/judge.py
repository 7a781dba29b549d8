"""Need and pool's answer -> the verdict.

nothing stands against it, GPUs granted       fit; unknown where nothing is known of the model
GPUs in use                                   pending
no node could ever give them, or the spec
contradicts itself, or no product holds it    impossible
no nodes, or no pool                          unknown
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from app.cli.asking import Answer, Asked, ask, ask_pool
from app.cli.effect import find_effect
from app.cli.verdict import Outcome, Sizes, Verdict
from app.cli.world import World
from app.gpus.allocation import Phase
from app.inferenceservice.checks import PREREQUISITES, first_finding
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at, value_at
from app.topology.fit import Fits
from app.topology.layout import Layout
from app.topology.legality import find_obstacle
from app.topology.memory import Memory
from app.topology.parallelism import Impossible, plan_shape
from app.topology.question import Question

_NO_GPUS = "is no AMD GPU node"
_NOTHING_OFFERED = "offers no GPUs"


def judge(world: World, weight_bytes: int | None = None) -> Verdict:
    """The answer to one question."""
    asked = ask(world, weight_bytes)
    answer = ask_pool(world, asked.request) if asked.request else None
    spec = _decision(answer)
    outcome = _outcome(asked, spec)
    placed = mapping_at(answer.bound if answer else None, "spec") if outcome is not Outcome.IMPOSSIBLE else {}
    fit = _fit(world, asked, text_at(placed, "product"))
    return Verdict(
        outcome=outcome,
        product=text_at(placed, "product"),
        sizes=_sizes(asked, mapping_at(placed, "shape"), fit),
        max_model_len=count_at(placed, "shape", "maxModelLen") or (fit.max_model_len if fit else None),
        nodes=_nodes(placed),
        memory=fit.memory if fit else _shortage(world, asked),
        reasons=tuple(_reasons(world, asked, spec, outcome, fit)),
        excluded=_excluded(world, answer, placed),
        foreign_use_unknown=_foreign_unknown(world, answer),
        rejected=tuple(f"{it.layout}: {it.reason}" for it in fit.rejected) if fit else (),
        unchecked=tuple(_unchecked(world, asked, answer)),
        effect=find_effect(world, asked, answer, outcome),
    )


def _decision(answer: Answer | None) -> Mapping[str, Any]:
    """What is said about this request: while an earlier one holds its GPUs, it stands beside that."""
    spec = mapping_at(answer.bound if answer else None, "spec")
    return mapping_at(spec, "next") or spec


def _outcome(asked: Asked, decision: Mapping[str, Any]) -> Outcome:
    if asked.blocked or asked.request is None:
        return Outcome.IMPOSSIBLE
    phase, least = text_at(decision, "phase"), count_at(asked.request, "spec", "replicas", "min")
    if phase == Phase.IMPOSSIBLE:
        return Outcome.IMPOSSIBLE
    if phase == Phase.PENDING or (phase == Phase.PROPOSED and count_at(decision, "groups") < least):
        return Outcome.PENDING
    is_checked = asked.model is not None and phase in (Phase.BOUND, Phase.PROPOSED)
    return Outcome.FIT if is_checked else Outcome.UNKNOWN


def _fit(world: World, asked: Asked, product: str) -> Fits | None:
    """What was planned for the product that was granted; while it waits, for the best that is there."""
    need = asked.facts.need
    if need is None or not need.fits or asked.blocked:
        return None
    if product:
        return need.find_fit(product)
    here = _products(world)
    return next((fit for fit in need.fits if fit.accelerator.key in here), need.fits[0])


def _sizes(asked: Asked, shape: Mapping[str, Any], fit: Fits | None) -> Sizes | None:
    """As granted, else as they would be, else as the spec says."""
    if shape:
        tensor, pipeline, data = (count_at(shape, axis) for axis in ("tensor", "pipeline", "data"))
        return Sizes(tensor, pipeline, data, value_at(shape, "expertParallel") is True)
    if fit:
        return Sizes(fit.shape.tensor, fit.shape.pipeline, fit.shape.data, fit.expert_parallel)
    planned = plan_shape(asked.facts.spec.demand)
    return None if isinstance(planned, Impossible) else Sizes(planned.tensor, planned.pipeline, planned.data)


def _nodes(placed: Mapping[str, Any]) -> dict[str, int]:
    return dict(sorted(Counter(text_at(gpu, "node") for gpu in mappings_at(placed, "gpus")).items()))


def _products(world: World) -> list[str]:
    return sorted({product for node in world.gpu_nodes if (product := text_at(node, "spec", "product"))})


def _shortage(world: World, asked: Asked) -> Memory | None:
    """Where it does not fit: the memory of a GPU that is there, if the sizes are legal, to show by how much."""
    need, model = asked.facts.need, asked.model
    if need is None or model is None:
        return None
    shape, products = plan_shape(need.demand), _products(world)
    accelerators = [it.accelerator for it in need.excluded if it.accelerator.key in products or not products]
    if isinstance(shape, Impossible) or not accelerators:
        return None
    largest = max(accelerators, key=lambda it: (it.memory_bytes, it.key))
    needs = need.engine
    layout = Layout(shape.tensor, shape.pipeline, shape.data, bool(needs.expert_parallel))
    if find_obstacle(model, layout, tolerant=True) or not 0 < needs.gpu_memory_utilization <= 1:
        return None
    return Question(model, largest, need.demand, needs).memory(layout)


def _reasons(
    world: World, asked: Asked, decision: Mapping[str, Any], outcome: Outcome, fit: Fits | None
) -> Iterator[str]:
    if asked.unreadable:
        yield f"nothing is known of the model: {asked.unreadable}"
    if asked.blocked:
        yield asked.blocked
    if outcome is Outcome.IMPOSSIBLE:
        yield from _misfits(world, asked)
    if fit and outcome is not Outcome.IMPOSSIBLE:
        yield f"{fit.accelerator.key}: {fit.reason}"
        yield from fit.notes
    need = asked.facts.need
    if need and need.note and not asked.unreadable:
        yield need.note
    first = first_finding(PREREQUISITES, asked.facts)
    if world.is_live and first and not asked.blocked:
        yield f"before it asks for GPUs: {first.message}"
    if not asked.blocked and text_at(decision, "message"):
        yield text_at(decision, "message")
    if not asked.blocked and world.pool is None:
        yield f"there is no GPUPool {world.spec.resources.pool}: free GPUs were not checked"
    place = count_at(decision, "placeInLine")
    if place and outcome is Outcome.PENDING:
        yield f"place {place} in line"


def _misfits(world: World, asked: Asked) -> Iterator[str]:
    """Of the products that are here, why each cannot hold it."""
    products = _products(world)
    for it in asked.facts.need.excluded if asked.facts.need else ():
        if it.accelerator.key in products and it.reason not in asked.blocked:
            yield f"{it.accelerator.key}: {it.reason}"


def _excluded(world: World, answer: Answer | None, placed: Mapping[str, Any]) -> dict[str, int]:
    """With the nodes taken they are all nodes, under each resource name that a node offers."""
    told = mappings_at(answer.first if answer else None, "spec", "excluded")
    counts = {text_at(it, "reason"): count_at(it, "nodes") for it in told}
    offers = [len(mappings_at(node, "spec", "resources")) for node in world.gpu_nodes]
    empty, taken = offers.count(0), len(_nodes(placed))
    left = sum(offers) - sum(counts.values()) - taken
    if left > 0:
        looked_at = bool(taken or counts) and world.pool is not None
        counts[f"is not in pool {world.spec.resources.pool}" if looked_at else "was not looked at"] = left
    for reason, number in ((_NOTHING_OFFERED, empty), (_NO_GPUS, world.others)):
        counts |= {reason: counts.get(reason, 0) + number} if number else {}
    return counts


def _foreign_unknown(world: World, answer: Answer | None) -> bool:
    if answer is None:
        return True
    spec = mapping_at(answer.bound, "spec")
    return value_at(spec, "foreignUseUnknown") is True


def _unchecked(world: World, asked: Asked, answer: Answer | None) -> Iterator[str]:
    yield from world.notes
    if asked.model is None:
        yield "whether the model fits: nothing is known of it"
    if answer is None and asked.request is not None:
        yield "free GPUs: there is no pool that knows them"
    elif _foreign_unknown(world, answer):
        who = "no agent reports" if world.is_live else "a file does not tell"
        yield f"GPUs that other pods hold: {who} them, so they count as free"
    if asked.model and not asked.model.max_position:
        yield "the model's own longest sequence: it is not known"
    if not world.is_live:
        yield "CEL rules beyond those about GPUs, quota, and whether images and weights can be fetched"
