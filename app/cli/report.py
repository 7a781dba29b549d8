"""PlanResult -> everything that `plan` tells of one service: the answer of a batch, and what only one service needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from app.cli.decide import PlanResult
from app.cli.explain.displayed_shape import DisplayedShape, displayed_shape
from app.cli.explain.exclusions import excluded_nodes, taken_nodes
from app.cli.explain.outcome import Outcome, find_outcome, find_reasons, place_in_line
from app.cli.explain.restarts import Effect, find_effect
from app.cli.limits import PoolLimit
from app.fit.memory.estimate import MemoryEstimate
from app.inferenceservice.plan import Serve

Json = dict[str, Any]
FOREIGN_USE = "what pods of no service hold on the nodes is not known and was counted as free"


@dataclass(frozen=True)
class Report:
    """One service."""

    service: str
    outcome: Outcome
    answer: Json
    memory: MemoryEstimate | None
    """Of one GPU."""
    place_in_line: int
    rejected: tuple[tuple[str, str], ...]
    """Layouts that were not taken, and why."""
    unchecked: tuple[str, ...]
    effect: Effect | None
    command: tuple[str, ...]
    """Arguments of vLLM; empty while there is no decision."""
    limit: PoolLimit | None = None

    def to_json(self) -> Json:
        more: Json = {
            "service": self.service,
            "placeInLine": self.place_in_line or None,
            "rejected": [{"layout": layout, "reason": reason} for layout, reason in self.rejected],
            "unchecked": list(self.unchecked),
            "arguments": list(self.command),
            "running": _effect(self.effect),
            "limit": _limit(self.limit),
        }
        return self.answer | more


def build_report(result: PlanResult) -> Report:
    outcome, shown, plan = find_outcome(result), displayed_shape(result), result.plan
    command = plan.decision.command.arguments if isinstance(plan, Serve) and plan.decision else ()
    return Report(
        service=result.scenario.key,
        outcome=outcome,
        answer=_answer(result, outcome, shown),
        memory=shown.memory,
        place_in_line=place_in_line(result),
        rejected=_rejected(result, shown),
        unchecked=tuple(_unchecked(result)),
        effect=find_effect(result),
        command=tuple(command),
        limit=result.limit,
    )


def _rejected(result: PlanResult, shown: DisplayedShape) -> tuple[tuple[str, str], ...]:
    """Of the product that is shown: the others were looked at as well, but nobody waits for them."""
    excluded = result.facts.need.excluded if result.facts.need else ()
    of_product = next((it.alternatives for it in excluded if it.gpu.key == shown.product), ())
    rejected = shown.fit.alternatives if shown.fit else of_product
    return tuple((str(it.parallelism), it.reason) for it in rejected)


def _unchecked(result: PlanResult) -> list[str]:
    need = result.facts.need
    notes = [need.note if need else "", result.scenario.override.note, *result.scenario.notes]
    foreign = [FOREIGN_USE] if foreign_use_unknown(result) else []
    return [note for note in (*notes, *foreign) if note]


def _limit(limit: PoolLimit | None) -> Json | None:
    if limit is None:
        return None
    return {
        "pool": limit.pool,
        "limits": list(limit.places),
        "gpus": limit.gpus,
        "used": limit.used,
        "holds": limit.holds,
    }


def _effect(effect: Effect | None) -> Json | None:
    if effect is None:
        return None
    told = asdict(effect)
    told["changes"] = [{"path": path, "before": before, "after": after} for path, before, after in effect.changes]
    return told


def build_answer(result: PlanResult) -> Json:
    """Sizes are of one group, memory of one GPU, nodes of all groups. Its keys are an interface, see docs/plan.md."""
    return _answer(result, find_outcome(result), displayed_shape(result))


def _answer(result: PlanResult, outcome: Outcome, shown: DisplayedShape) -> Json:
    return {
        "outcome": outcome.value,
        "product": shown.product,
        "tensorParallel": shown.sizes.tensor,
        "pipelineParallel": shown.sizes.pipeline,
        "dataParallel": shown.sizes.data,
        "expertParallel": shown.expert_parallel,
        "maxModelLen": shown.max_model_len,
        "nodes": [{"name": name, "gpus": gpus} for name, gpus in taken_nodes(result).items()],
        "memory": _memory(shown.memory) if shown.memory else None,
        "reasons": find_reasons(result, outcome, shown.fit),
        "excluded": excluded_nodes(result),
        "foreignUseUnknown": foreign_use_unknown(result),
    }


def foreign_use_unknown(result: PlanResult) -> bool:
    """Whether what pods of no service hold is not known for some node; it was counted as free."""
    said = result.allocation is not None and result.allocation.foreign_use_unknown is True
    return said or any(node.unmanaged_usage is None for node in result.pool_nodes)


def _memory(memory: MemoryEstimate) -> Json:
    return {
        "weightsBytes": memory.weights,
        "kvCacheBytesPerToken": memory.kv_per_token,
        "overheadBytes": memory.overhead,
        "budgetBytes": memory.usable,
        "maxSequences": memory.sequences,
    }
