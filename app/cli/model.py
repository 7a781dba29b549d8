"""What a user tells of a model: its config.json and the size of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.cli.errors import InputError
from app.fit.hf_config.config import Unreadable, parse_config
from app.fit.model import ModelFacts


@dataclass(frozen=True)
class Told:
    """The facts, or why there are none."""

    facts: ModelFacts | None = None
    weight_bytes: int | None = None
    """Size of the weights, where it is to be added to facts that others tell."""
    note: str = ""


NOTHING_TOLD = Told()


def read_model(config: Any, weight_bytes: Any) -> Told:
    """A config.json goes before everything else. One that cannot be read is passed over, and that is said."""
    if weight_bytes is not None and (type(weight_bytes) is not int or weight_bytes < 1):
        raise InputError(f"the size of the weights must be a whole number of bytes, at least 1, not {weight_bytes!r}")
    if config is not None and not isinstance(config, Mapping):
        raise InputError("the model's config is no JSON object")
    facts = None if config is None else parse_config(config, weight_bytes)
    if isinstance(facts, Unreadable):
        return Told(weight_bytes=weight_bytes, note=f"config.json was passed over: {facts.reason}")
    return Told(facts, None if facts else weight_bytes)
