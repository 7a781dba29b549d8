"""What the tests of the planner look up, and must find."""

from __future__ import annotations

from app.topology.accelerators import ACCELERATORS, Accelerator
from app.topology.models import ModelFacts, find_model


def accelerator(key: str) -> Accelerator:
    return next(item for item in ACCELERATORS if item.key == key)


def model(name: str) -> ModelFacts:
    facts = find_model(name)
    assert facts is not None
    return facts
