"""What is kept of the objects of one kind, as a list and its watch tell them: a cache without state of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from app.agent.snapshot import CachedObject, Json, Key, parse_identity

F = TypeVar("F", bound=CachedObject)


class Store(Generic[F]):
    """Facts by key. Every method says whether something that matters has changed."""

    def __init__(self, parse: Callable[[Json], F | None]) -> None:
        self._parse = parse
        self.objects: dict[Key, F] = {}

    def trim(self, objects: list[F]) -> list[F]:
        """What is kept of the pages of a list that have come so far."""
        return objects

    def replace(self, objects: Iterable[F]) -> bool:
        """Take what a list told in place of everything."""
        before, self.objects = self.objects, {cached.key: cached for cached in objects}
        return before != self.objects

    def parse(self, item: Json) -> F | None:
        return self._parse(item)

    def apply(self, kind: str, item: Json) -> bool:
        """Take one event of a watch (ADDED, MODIFIED, DELETED). States older than the known one are left aside."""
        identity = CachedObject(*parse_identity(item))
        known = self.objects.get(identity.key)
        if kind == "DELETED":
            return self.objects.pop(identity.key, None) is not None
        if known is not None and known.uid == identity.uid and identity.version < known.version:
            return False
        cached = self._parse(item)
        if cached is None:
            return self.objects.pop(identity.key, None) is not None
        self.objects[cached.key] = cached
        return known != cached

    def learn(self, item: Json) -> bool:
        """Take the answer to a write of ours, ahead of the watch; an object that is gone meanwhile stays gone."""
        identity = CachedObject(*parse_identity(item))
        known = self.objects.get(identity.key)
        return self.apply("MODIFIED", item) if known and known.uid == identity.uid else False
