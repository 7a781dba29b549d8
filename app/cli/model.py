"""What a user tells of a model: its config.json and the size of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.cli.errors import InputError
from app.kube.lenient import text_at
from app.topology.config import Unreadable, parse_config
from app.topology.models import ModelFacts, find_model


@dataclass(frozen=True)
class Told:
    """The facts, or why there are none."""

    facts: ModelFacts | None = None
    note: str = ""


def read_model(service: Mapping[str, Any], config: Any, weight_bytes: Any) -> Told:
    """A config.json goes before the catalogue. One that cannot be read is passed over, and that is said; so is a size
    without facts it could belong to."""
    if weight_bytes is not None and (type(weight_bytes) is not int or weight_bytes < 1):
        raise InputError(f"the size of the weights must be a whole number of bytes, at least 1, not {weight_bytes!r}")
    if config is not None and not isinstance(config, Mapping):
        raise InputError("the model's config is no JSON object")
    if config is None:
        return _listed(service, weight_bytes)
    facts = parse_config(config, weight_bytes)
    return Told(note=f"config.json was passed over: {facts.reason}") if isinstance(facts, Unreadable) else Told(facts)


def _listed(service: Mapping[str, Any], weight_bytes: int | None) -> Told:
    """The catalogue's facts are found by the service itself, unless a size is to be added to them."""
    if weight_bytes is None:
        return Told()
    listed = find_model(text_at(service, "spec", "model", "name"))
    if listed is None:
        return Told(note="the size of the weights alone tells too little of a model: give its config.json, too")
    return Told(replace(listed, weight_bytes=weight_bytes))
