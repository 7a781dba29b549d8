"""PlanResult -> one of four outcomes, and the sentences that explain it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec, NextDecision, Phase
from app.cli.decide import PlanResult
from app.fit.request import Fits
from app.gpupool.nameless import nameless_hosts, nameless_message
from app.gpupool.observe import to_node_requirements
from app.inferenceservice.plan import Serve, Wait
from app.scheduling.nodes import NodeRequirements


class Outcome(StrEnum):
    FIT = "fit"
    """It gets its GPUs, and the model fits them."""
    PENDING = "pending"
    """The hardware could hold it, and is in use, ill or tainted."""
    IMPOSSIBLE = "impossible"
    """None of these nodes could ever hold it as asked, or the spec contradicts itself."""
    UNKNOWN = "unknown"
    """There are no nodes, or nothing is known of the model: what could be placed is placed all the same."""


def find_outcome(result: PlanResult) -> Outcome:
    """Unknown is neither fit nor impossible; what stands against it whatever is free comes first."""
    if result.refusal:
        return Outcome.IMPOSSIBLE
    if _phase(result) == Phase.IMPOSSIBLE:
        return Outcome.IMPOSSIBLE
    if _phase(result) == Phase.UNKNOWN:
        return Outcome.UNKNOWN
    if _phase(result) == Phase.PENDING or place_in_line(result):
        return Outcome.UNKNOWN if _nameless(result) and not _has_planned(result) else Outcome.PENDING
    return Outcome.UNKNOWN if result.facts.need and result.facts.need.note else Outcome.FIT


def find_reasons(result: PlanResult, outcome: Outcome, fit: Fits | None) -> list[str]:
    """Sentences, the decisive one first, each once; `fit` is that of the shape that is shown."""
    return list(dict.fromkeys(it for it in _reasons(result, outcome, fit) if it))


def place_in_line(result: PlanResult) -> int:
    """1 = next; 0 = waits for nothing."""
    said = _said(result)
    return (said.place_in_line if said else None) or 0


def _reasons(result: PlanResult, outcome: Outcome, fit: Fits | None) -> Iterator[str]:
    need = result.facts.need
    if result.refusal:
        yield result.refusal.message
    else:
        if isinstance(result.first, Wait) and not result.first.asks:
            yield result.first.finding.message
        yield _message(result)
    if outcome is Outcome.IMPOSSIBLE:
        yield from _unfit_products(result)
        return
    if fit:
        yield fit.reason
        yield from fit.warnings
    yield need.note if need else ""
    if not result.pool_nodes and fit:
        yield f"without nodes, sizes and memory are those on {fit.gpu.key}, the smallest that holds it"
    if (nameless := _nameless(result)) and not _pool_told_of_nameless(result):
        yield nameless_message(nameless, result.facts.settings.declared_product_label)
    yield from (result.scenario.override.note, *result.scenario.notes)
    if isinstance(result.plan, Serve):
        yield from result.plan.warnings


def _unfit_products(result: PlanResult) -> Iterator[str]:
    """Why the products of these nodes cannot hold it."""
    products = {node.product for node in result.pool_nodes}
    for excluded in result.facts.need.excluded if result.facts.need else ():
        if excluded.gpu.key in products:
            yield f"{excluded.gpu.key}: {excluded.reason}"


def _nameless(result: PlanResult) -> list[str]:
    """Nodes of which only the product is missing that the model needs."""
    requirements = _requirements(result)
    need = result.facts.need
    return nameless_hosts(result.pool_nodes, requirements, need.request.gpus_per_node) if requirements and need else []


def _pool_told_of_nameless(result: PlanResult) -> bool:
    """The pool says the same of services that wait (`with_nameless`)."""
    return _phase(result) == Phase.PENDING and bool(_message(result))


def _has_planned(result: PlanResult) -> bool:
    """Whether there are nodes that could hold it by what is known of them."""
    requirements, need = _requirements(result), result.facts.need
    if requirements is None or need is None:
        return False
    enough = (node for node in result.pool_nodes if node.at_best >= need.request.gpus_per_node)
    return any(not requirements.permanent_mismatch(node) for node in enough)


def _requirements(result: PlanResult) -> NodeRequirements | None:
    need = result.facts.need
    return to_node_requirements(need.request) if need else None


def _phase(result: PlanResult) -> str:
    said = _said(result)
    return said.phase if said else ""


def _message(result: PlanResult) -> str:
    said = _said(result)
    return (said.message if said else None) or ""


def _said(result: PlanResult) -> GPUAllocationSpec | NextDecision | None:
    """What the pool says of the service as it is asked; while an earlier decision stands, that is what comes next."""
    allocation, need = result.allocation, result.facts.need
    following = allocation.next if allocation else None
    return following if following and need and following.digest == need.digest else allocation
