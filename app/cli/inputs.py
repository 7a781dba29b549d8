"""What users give, checked: settings, facts of a model, a service's spec. Every mistake is a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from app.api.admission import Violation, find_violations
from app.api.schema import Schema
from app.api.v1alpha1.inferenceservice import KIND, SIZE_RULES, InferenceServiceSpec
from app.fit.hf_config.config import Unreadable, parse_config
from app.fit.model import ModelFacts
from app.settings import PREFIX, Settings, SettingsError, describe, read_settings
from app.vllm.finding import did_you_mean


class InputError(Exception):
    """The input cannot be used; the message is all that is shown."""


def refused_field(what: str, prefix: str, error: ValidationError) -> InputError:
    """Every field that a model refuses, with its path as it is written in YAML."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    problems = [f"{_path(prefix, it['loc'])}: {it['msg'].removeprefix('Value error, ')}" for it in found]
    return InputError(f"{what} is not accepted: {'; '.join(problems)}")


def _path(prefix: str, location: tuple[int | str, ...]) -> str:
    path = prefix
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "the document"


def settings_from_environment() -> Settings:
    """The same variables that the operator reads."""
    try:
        return read_settings()
    except SettingsError as error:
        raise InputError(f"the environment: {error}") from None


def settings_from_variables(variables: Mapping[str, str], where: str) -> Settings:
    """Settings as a ConfigMap holds them."""
    named = {key.removeprefix(PREFIX).lower(): value for key, value in variables.items() if key.startswith(PREFIX)}
    values: dict[str, Any] = dict(named)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise InputError(f"{where}: {describe(error)}") from None


@dataclass(frozen=True)
class ModelOverride:
    """What a user says of a model: its facts, or why there are none."""

    facts: ModelFacts | None = None
    weight_bytes: int | None = None
    """Size of the weights, where it is to be added to facts that others tell."""
    note: str = ""


NO_OVERRIDE = ModelOverride()


def read_model(config: Any, weight_bytes: Any) -> ModelOverride:
    """A config.json goes before everything else. One that cannot be read is passed over, and that is said."""
    if weight_bytes is not None and (type(weight_bytes) is not int or weight_bytes < 1):
        raise InputError(f"the size of the weights must be a whole number of bytes, at least 1, not {weight_bytes!r}")
    if config is not None and not isinstance(config, Mapping):
        raise InputError("the model's config is no JSON object")
    facts = None if config is None else parse_config(config, weight_bytes)
    if isinstance(facts, Unreadable):
        return ModelOverride(weight_bytes=weight_bytes, note=f"config.json was passed over: {facts.reason}")
    return ModelOverride(facts, None if facts else weight_bytes)


def read_spec(name: str, given: Mapping[str, Any]) -> InferenceServiceSpec:
    """The spec of an InferenceService, or a sentence that names each field and rule that admission would refuse."""
    try:
        spec = InferenceServiceSpec.model_validate(given)
    except ValidationError as error:
        raise refused_field(f"InferenceService {name}", "spec", error) from None
    if broken := _broken_rules(name, spec):
        raise InputError(f"InferenceService {name} is not accepted: {broken}")
    return spec


def _broken_rules(name: str, spec: InferenceServiceSpec) -> str:
    """The rules' own messages, by field. Sizes are left to the planner, which tells numbers."""
    written = spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    found = find_violations(KIND, {"metadata": {"name": name}, "spec": written})
    broken = (it for it in found if it.rule not in SIZE_RULES)
    return "; ".join(_of_field(path, group) for path, group in groupby(broken, key=lambda it: it.path))


def _of_field(path: str, violations: Iterator[Violation]) -> str:
    messages = "; ".join(it.message for it in violations)
    return f"{path}: {messages}" if path else messages


def unknown_fields(spec: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each field that no InferenceService's spec has, with the nearest that there is: `kubectl apply`
    refuses them, here they are told and passed over."""
    yield from _unknown(spec, KIND.schema["properties"]["spec"], "spec")


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
