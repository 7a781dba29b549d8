"""What the tests of the planner look up, and must find."""

from __future__ import annotations

from app.fit.accelerators import ACCELERATORS, Accelerator
from app.fit.models import ModelFacts, find_model


def accelerator(key: str) -> Accelerator:
    return next(item for item in ACCELERATORS if item.key == key)


def model(name: str) -> ModelFacts:
    facts = find_model(name)
    assert facts is not None
    return facts
