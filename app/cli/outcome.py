"""Verdict -> one of four outcomes, and the sentences that explain it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from app.api.v1alpha1.gpuallocation import Phase
from app.cli.decide import Verdict
from app.cli.shown import shown_shape
from app.gpupool.nameless import nameless_hosts, nameless_message
from app.gpupool.observe import to_wish
from app.inferenceservice.plan import Serve, Wait
from app.kube.lenient import count_at, mapping_at, text_at
from app.scheduling.nodes import Wish


class Outcome(StrEnum):
    FIT = "fit"
    """It gets its GPUs, and the model fits them."""
    PENDING = "pending"
    """The hardware could hold it, and is in use, ill or tainted."""
    IMPOSSIBLE = "impossible"
    """None of these nodes could ever hold it as asked, or the spec contradicts itself."""
    UNKNOWN = "unknown"
    """There are no nodes, or nothing is known of the model: what could be placed is placed all the same."""


def find_outcome(verdict: Verdict) -> Outcome:
    """Unknown is neither fit nor impossible; what stands against it whatever is free comes first."""
    if verdict.refusal:
        return Outcome.IMPOSSIBLE
    if _phase(verdict) == Phase.IMPOSSIBLE:
        return Outcome.IMPOSSIBLE
    if _phase(verdict) == Phase.UNKNOWN:
        return Outcome.UNKNOWN
    if _phase(verdict) == Phase.PENDING or place_in_line(verdict):
        return Outcome.UNKNOWN if _nameless(verdict) and not _has_planned(verdict) else Outcome.PENDING
    return Outcome.UNKNOWN if verdict.facts.need and verdict.facts.need.note else Outcome.FIT


def find_reasons(verdict: Verdict) -> list[str]:
    """Sentences, the decisive one first, each once."""
    return list(dict.fromkeys(it for it in _reasons(verdict) if it))


def place_in_line(verdict: Verdict) -> int:
    """1 = next; 0 = waits for nothing."""
    return count_at(_said(verdict), "placeInLine")


def _reasons(verdict: Verdict) -> Iterator[str]:
    need, fit = verdict.facts.need, shown_shape(verdict).fit
    label = verdict.facts.settings.declared_product_label
    if verdict.refusal:
        yield verdict.refusal.message
    else:
        if isinstance(verdict.first, Wait) and not verdict.first.asks:
            yield verdict.first.finding.message
        yield text_at(_said(verdict), "message")
    if find_outcome(verdict) is Outcome.IMPOSSIBLE:
        yield from _unfit_products(verdict)
        return
    if fit:
        yield fit.reason
        yield from fit.notes
    yield need.note if need else ""
    if not verdict.pool_nodes and fit:
        yield f"without nodes, sizes and memory are those on {fit.accelerator.key}, the smallest that holds it"
    if (nameless := _nameless(verdict)) and label not in text_at(_said(verdict), "message"):
        yield nameless_message(nameless, label)
    yield from (verdict.case.told.note, *verdict.case.notes)
    if isinstance(verdict.plan, Serve):
        yield from verdict.plan.warnings


def _unfit_products(verdict: Verdict) -> Iterator[str]:
    """Why the products of these nodes cannot hold it."""
    products = {node.product for node in verdict.pool_nodes}
    for excluded in verdict.facts.need.excluded if verdict.facts.need else ():
        if excluded.accelerator.key in products:
            yield f"{excluded.accelerator.key}: {excluded.reason}"


def _nameless(verdict: Verdict) -> list[str]:
    """Nodes of which only the product is missing that the model needs."""
    wish = _wish(verdict)
    need = verdict.facts.need
    return nameless_hosts(verdict.pool_nodes, wish, need.request.gpus_per_node) if wish and need else []


def _has_planned(verdict: Verdict) -> bool:
    """Whether there are nodes that could hold it by what is known of them."""
    wish, need = _wish(verdict), verdict.facts.need
    if wish is None or need is None:
        return False
    enough = (node for node in verdict.pool_nodes if node.at_best >= need.request.gpus_per_node)
    return any(not wish.find_obstacle(node) for node in enough)


def _wish(verdict: Verdict) -> Wish | None:
    need = verdict.facts.need
    return to_wish(need.request) if need else None


def _phase(verdict: Verdict) -> str:
    return text_at(_said(verdict), "phase")


def _said(verdict: Verdict) -> dict[str, object]:
    """What the pool says of the service as it is asked; while an earlier decision stands, that is what comes next."""
    spec = mapping_at(verdict.allocation, "spec")
    digest = verdict.facts.need.digest if verdict.facts.need else ""
    following = mapping_at(spec, "next")
    return dict(following if following.get("digest") == digest else spec)
