"""What admission says of an object across its fields, without an API server: the CEL rules of its CRD, evaluated.

The rules are those that `crds/` holds, on the object with the defaults of the same schema, so nothing is written a
second time. Fields one by one are the models' to check (`InferenceServiceSpec.model_validate`, ...): an object that
comes here has the types of its schema, as the API server too evaluates rules on such objects alone.

Of Kubernetes' own CEL functions there are those that our rules use. Source:
https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext.ext_optional import ExtOptional

from app.api.schema import RULES, Kind, Rule, Schema
from app.kube.quantity import parse_quantity


@dataclass(frozen=True)
class Violation:
    """A rule that an object breaks."""

    path: str
    """Of the field, as admission names it: "spec.autoscaling"; "" for the object itself."""
    rule: Rule
    message: str
    """The rule's; where the rule could not be evaluated, what stood against that."""


def find_violations(kind: Kind, manifest: Mapping[str, Any]) -> Iterator[Violation]:
    """The rules that an object of this kind breaks, from the outside in. Of its metadata only the name is looked at."""
    yield from _violations(with_defaults(manifest, kind.schema), kind.schema, "")


def with_defaults(value: Any, schema: Schema) -> Any:
    """A value as the API server stores it: defaults filled in where the object around them is there, nulls gone."""
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    if not isinstance(value, Mapping):
        return value
    known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
    filled = {name: inner["default"] for name, inner in known.items() if "default" in inner}
    given = {name: item for name, item in value.items() if item is not None or name not in known}
    return {name: with_defaults(item, known.get(name, other)) for name, item in (filled | given).items()}


def _violations(value: Any, schema: Schema, path: str) -> Iterator[Violation]:
    for rule in map(Rule.from_schema, schema.get(RULES, ())):
        if message := _evaluated(rule, value):
            yield Violation(f"{path}{rule.field_path}", rule, message)
    for inner, item, name in _inside(value, schema):
        yield from _violations(item, inner, f"{path}{name}".removeprefix("."))


def _inside(value: Any, schema: Schema) -> Iterator[tuple[Schema, Any, str]]:
    """What an object, a map or a list holds: with its schema, and how a path goes on to it."""
    if isinstance(value, list):
        yield from ((schema.get("items", {}), item, f"[{index}]") for index, item in enumerate(value))
    elif isinstance(value, Mapping):
        known, other = schema.get("properties", {}), schema.get("additionalProperties")
        yield from ((known[name], item, f".{name}") for name, item in value.items() if name in known)
        if other:
            yield from ((other, item, f"[{name}]") for name, item in value.items())


def _evaluated(rule: Rule, value: Any) -> str:
    """What is said of a broken rule, "" when it holds."""
    found = _compiled(rule.expression).eval(data={"self": value})
    if found.type() == cel.Type.BOOL:
        return "" if found.value() else rule.message
    return f"{found.value()} evaluating rule: {rule.message}"


@cache
def _compiled(expression: str) -> Any:
    return _environment().compile(expression)


@cache
def _environment() -> Any:
    text, number, truth = cel.Type.STRING, cel.Type.INT, cel.Type.BOOL
    functions = [
        _function("quantity", [text], text, _quantity, is_member=False),
        _function("isGreaterThan", [text, text], truth, lambda a, b: parse_quantity(a) > parse_quantity(b)),
        _function("sum", [cel.Type.List(number)], number, sum),
    ]
    return cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=[ExtOptional()], functions=functions)


def _function(name: str, parameters: list[Any], returns: Any, code: Any, *, is_member: bool = True) -> Any:
    overload = cel.Overload(f"kubernetes_{name}", returns, parameters, is_member, code)
    return cel.FunctionDecl(name, [overload])


def _quantity(text: str) -> str:
    """As text, which is exact; ValueError where it is none."""
    parse_quantity(text)
    return text
