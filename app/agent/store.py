"""The facts of one kind, as a list and its watch tell them: a cache without any state of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from app.agent.facts import Fact, Json, Key

F = TypeVar("F", bound=Fact)


class Store(Generic[F]):
    """Facts by key. Every method says whether something that matters has changed."""

    def __init__(self, parse: Callable[[Json], F | None]) -> None:
        self._parse = parse
        self.facts: dict[Key, F] = {}

    def replace(self, facts: Iterable[F]) -> bool:
        """Take what a list told in place of everything."""
        before, self.facts = self.facts, {fact.key: fact for fact in facts}
        return before != self.facts

    def parse(self, item: Json) -> F | None:
        return self._parse(item)

    def apply(self, kind: str, item: Json) -> bool:
        """Take one event of a watch (ADDED, MODIFIED, DELETED). States older than the known one are left aside."""
        fact = None if kind == "DELETED" else self._parse(item)
        if fact is None:
            metadata = item.get("metadata") or {}
            return self.facts.pop((metadata.get("namespace", ""), metadata.get("name", "")), None) is not None
        known = self.facts.get(fact.key)
        if known is not None and known.uid == fact.uid and fact.version < known.version:
            return False
        self.facts[fact.key] = fact
        return known != fact

    def learn(self, item: Json) -> bool:
        """Take the answer to a write of ours, ahead of the watch; an object that is gone meanwhile stays gone."""
        fact = self._parse(item)
        known = self.facts.get(fact.key) if fact else None
        return self.apply("MODIFIED", item) if fact and known and known.uid == fact.uid else False
