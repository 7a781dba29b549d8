"""Label selectors, as the API defines them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Selector = Mapping[str, Any]


class InvalidSelectorError(ValueError):
    """An operator that does not exist."""


def matches(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold; no selector matches everything."""
    if selector is None:
        return True
    exact = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in exact.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise InvalidSelectorError(f"unknown operator {other!r} in a label selector")
