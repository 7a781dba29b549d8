"""What the tests of the planner look up, and must find."""

from __future__ import annotations

from app.fit.catalog import ACCELERATORS, Accelerator, find_model
from app.fit.checks.layout import CERTAIN, LEGALITY, Layout
from app.fit.model import ModelFacts
from app.fit.parallelism import Parallelism


def accelerator(key: str) -> Accelerator:
    return next(item for item in ACCELERATORS if item.key == key)


def model(name: str) -> ModelFacts:
    facts = find_model(name)
    assert facts is not None
    return facts


def find_refusal(facts: ModelFacts, sizes: Parallelism) -> str | None:
    """The first reason against sizes, whether it is certain or not."""
    return LEGALITY.evaluate(Layout(facts, sizes))


def certain_refusal(facts: ModelFacts, sizes: Parallelism) -> str | None:
    return CERTAIN.evaluate(Layout(facts, sizes))
