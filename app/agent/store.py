"""The facts of one kind, as a list and its watch tell them: a cache without any state of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from app.agent.facts import Fact, Json, Key, parse_identity

F = TypeVar("F", bound=Fact)


class Store(Generic[F]):
    """Facts by key. Every method says whether something that matters has changed."""

    def __init__(self, parse: Callable[[Json], F | None]) -> None:
        self._parse = parse
        self.facts: dict[Key, F] = {}

    def trim(self, facts: list[F]) -> list[F]:
        """What is kept of the pages of a list that have come so far."""
        return facts

    def replace(self, facts: Iterable[F]) -> bool:
        """Take what a list told in place of everything."""
        before, self.facts = self.facts, {fact.key: fact for fact in facts}
        return before != self.facts

    def parse(self, item: Json) -> F | None:
        return self._parse(item)

    def apply(self, kind: str, item: Json) -> bool:
        """Take one event of a watch (ADDED, MODIFIED, DELETED). States older than the known one are left aside."""
        identity = Fact(*parse_identity(item))
        known = self.facts.get(identity.key)
        if kind == "DELETED":
            return self.facts.pop(identity.key, None) is not None
        if known is not None and known.uid == identity.uid and identity.version < known.version:
            return False
        fact = self._parse(item)
        if fact is None:
            return self.facts.pop(identity.key, None) is not None
        self.facts[fact.key] = fact
        return known != fact

    def learn(self, item: Json) -> bool:
        """Take the answer to a write of ours, ahead of the watch; an object that is gone meanwhile stays gone."""
        identity = Fact(*parse_identity(item))
        known = self.facts.get(identity.key)
        return self.apply("MODIFIED", item) if known and known.uid == identity.uid else False
