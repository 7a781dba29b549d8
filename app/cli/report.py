"""Verdict -> everything that `plan` tells of one service: the answer of a batch, and what only one service needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from app.cli.answer import Json, build_answer, foreign_use_unknown
from app.cli.decide import Verdict
from app.cli.limits import PoolLimit
from app.cli.outcome import Outcome, find_outcome, place_in_line
from app.cli.restarts import Effect, find_effect
from app.cli.shown import ShownShape, shown_shape
from app.inferenceservice.plan import Serve

CROSS_FIELD_RULES = "rules (CEL) inside autoscaling, monitoring and ingress are checked by the API server at apply"
FOREIGN_USE = "what pods of no service hold on the nodes is not known and was counted as free"


@dataclass(frozen=True)
class Report:
    """One service."""

    service: str
    outcome: Outcome
    answer: Json
    shape: ShownShape
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


def build_report(verdict: Verdict) -> Report:
    shape, plan = shown_shape(verdict), verdict.plan
    command = plan.decision.command.arguments if isinstance(plan, Serve) and plan.decision else ()
    return Report(
        service=verdict.case.key,
        outcome=find_outcome(verdict),
        answer=build_answer(verdict),
        shape=shape,
        place_in_line=place_in_line(verdict),
        rejected=_rejected(verdict, shape),
        unchecked=tuple(_unchecked(verdict)),
        effect=find_effect(verdict),
        command=tuple(command),
        limit=verdict.limit,
    )


def _rejected(verdict: Verdict, shape: ShownShape) -> tuple[tuple[str, str], ...]:
    """Of the product that is shown: the others were looked at as well, but nobody waits for them."""
    excluded = verdict.facts.need.excluded if verdict.facts.need else ()
    of_product = next((it.alternatives for it in excluded if it.gpu.key == shape.product), ())
    rejected = shape.fit.alternatives if shape.fit else of_product
    return tuple((str(it.parallelism), it.reason) for it in rejected)


def _unchecked(verdict: Verdict) -> list[str]:
    need = verdict.facts.need
    notes = [need.note if need else "", verdict.case.told.note, *verdict.case.notes]
    foreign = [FOREIGN_USE] if foreign_use_unknown(verdict) else []
    rules = [] if verdict.case.rules_checked else [CROSS_FIELD_RULES]
    return [note for note in (*notes, *foreign, *rules) if note]


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
