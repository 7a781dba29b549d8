"""A policy is a chain of small checks in a stated order, as cert-manager's are. Every chain of the project is one.

A check looks at one value and returns what it finds, or None. What it needs to know is an argument, so that nobody has
to call it only when something else holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S")
R = TypeVar("R")

Check = Callable[[S], R | None]


class Chain(Generic[S, R]):
    """Checks of one kind of subject, in the order in which they are told."""

    __slots__ = ("checks",)

    def __init__(self, *checks: Check[S, R]) -> None:
        self.checks = checks

    def evaluate(self, subject: S) -> R | None:
        """What the first check that objects has to say."""
        for check in self.checks:
            if (found := check(subject)) is not None:
                return found
        return None

    def evaluate_all(self, subject: S) -> tuple[R, ...]:
        """What all checks have to say."""
        return tuple(found for check in self.checks if (found := check(subject)) is not None)
