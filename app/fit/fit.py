"""What fits where: one answer for every kind of GPU, and there are three of them.

    Fits       a shape, with the memory of one GPU and the longest sequence
    Unknown    nothing is known of the model: the shape follows from the spec alone and was not checked
    Excluded   these GPUs can never serve it as asked, with the reason

Unknown is never taken for zero, nor for "fits". What no layout could change is looked at first (module exclusions).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from app.fit.accelerators import Accelerator
from app.fit.choice import choose
from app.fit.exclusions import Candidate, find_exclusion
from app.fit.memory import STANDARD_OVERHEAD, Memory, Needs, Overhead
from app.fit.models import ModelFacts
from app.fit.notes import notes
from app.fit.parallelism import Demand, Impossible, Shape, plan_shape
from app.fit.question import Choice, Question, Rejected, Unfit


@dataclass(frozen=True)
class Fits:
    """One GPU kind that can serve the model."""

    accelerator: Accelerator
    shape: Shape
    expert_parallel: bool
    """Whether the engine must be told to keep experts whole."""
    memory: Memory
    max_model_len: int | None
    """Tokens: as given, or chosen; None = the model's own maximum is not known, so the engine must choose."""
    reason: str
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Unknown:
    """Nothing is known of the model, so only the spec decides."""

    accelerator: Accelerator
    shape: Shape
    reason: str


@dataclass(frozen=True)
class Excluded:
    """Never on these GPUs."""

    accelerator: Accelerator
    reason: str
    rejected: tuple[Rejected, ...] = ()


ProductFit = Fits | Unknown | Excluded


def fit_products(
    model: ModelFacts | None,
    demand: Demand,
    needs: Needs,
    accelerators: Iterable[Accelerator],
    architectures: Collection[str] | None = None,
    overhead: Overhead = STANDARD_OVERHEAD,
) -> tuple[ProductFit, ...]:
    """One answer for each accelerator, in the order they came.

    `model` None = not known. `architectures` are the gfx names that the engine's image was built for, None = not known.
    """
    candidates = (Candidate(model, accelerator, needs, architectures) for accelerator in accelerators)
    return tuple(_fit(candidate, demand, overhead) for candidate in candidates)


def _fit(candidate: Candidate, demand: Demand, overhead: Overhead) -> ProductFit:
    accelerator, model = candidate.accelerator, candidate.model
    if reason := find_exclusion(candidate):
        return Excluded(accelerator, reason)
    if model is None:
        return _by_spec(accelerator, demand)
    question = Question(model, accelerator, demand, candidate.needs, overhead)
    answer = choose(question)
    if isinstance(answer, Unfit):
        return Excluded(accelerator, answer.reason, answer.rejected)
    return _fits(question, answer)


def _by_spec(accelerator: Accelerator, demand: Demand) -> Unknown | Excluded:
    shape = plan_shape(demand)
    if isinstance(shape, Impossible):
        return Excluded(accelerator, shape.message)
    reason = f"{shape}, by the spec alone: nothing is known of the model, so memory and legality were not checked"
    return Unknown(accelerator, shape, reason)


def _fits(question: Question, choice: Choice) -> Fits:
    given, known = question.needs.max_model_len, question.model.max_position is not None
    return Fits(
        accelerator=question.accelerator,
        shape=choice.shape,
        expert_parallel=choice.expert_parallel,
        memory=choice.memory,
        max_model_len=given or (choice.memory.length if known else None),
        reason=choice.reason,
        rejected=choice.rejected,
        notes=notes(question, choice),
    )
