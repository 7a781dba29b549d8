"""Fields that no InferenceService has: `kubectl apply` refuses them, here they are told and passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from app.api.schema import Schema, structural_schema
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.vllm.finding import did_you_mean


def unknown_fields(spec: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each unknown field of an InferenceService's spec, with the nearest that there is."""
    yield from _unknown(spec, _schema(), "spec")


@cache
def _schema() -> Schema:
    return structural_schema(InferenceServiceSpec)


def _unknown(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Values of a wrong type are others' to tell."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{index}]")
    if not isinstance(value, Mapping) or schema.get("type") != "object":
        return
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    is_open = rest is not None or "x-kubernetes-preserve-unknown-fields" in schema
    for name, inner in value.items():
        if name in known or is_open:
            yield from _unknown(inner, known.get(name, rest or {}), f"{path}.{name}")
        else:
            yield f"there is no field {path}.{name}{did_you_mean(str(name), tuple(known))}"
