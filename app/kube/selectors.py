"""Label selectors as Kubernetes evaluates them.

Source: k8s.io/apimachinery/pkg/labels. NotIn and DoesNotExist hold where the label is missing; an empty selector
selects everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Requirement:
    """One expression over one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Labels) -> bool:
        there = self.key in labels
        match self.operator:
            case "In":
                return there and labels[self.key] in self.values
            case "NotIn":
                return not there or labels[self.key] not in self.values
            case "Exists":
                return there
            case "DoesNotExist":
                return not there
        return False


@dataclass(frozen=True)
class Selector:
    """Labels that must be equal, and expressions that must hold."""

    equal: Labels = field(default_factory=dict)
    expressions: Sequence[Requirement] = ()

    @property
    def is_empty(self) -> bool:
        return not self.equal and not self.expressions

    def matches(self, labels: Labels) -> bool:
        equal = all(labels.get(key) == value for key, value in self.equal.items())
        return equal and all(expression.holds(labels) for expression in self.expressions)
