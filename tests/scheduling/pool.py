"""One pool in a few words: nodes, needs, what was held, and the allocator's answer by short names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.scheduling.nodes import Node, Wish
from app.scheduling.request import Decision, Held, Need, Slot
from app.scheduling.scheduler import allocate

PATIENCE = 600.0
WISH = Wish("amd.com/gpu", ())


def node(name: str, gpus: int = 8, **fields: Any) -> Node:
    return Node(name, "amd.com/gpu", fields.pop("product", "MI300X"), gpus, **fields)


def need(name: str = "a", gpus: int = 1, pods: int = 1, **fields: Any) -> Need:
    digest, wish, created = fields.pop("digest", "d"), fields.pop("wish", WISH), fields.pop("created", name)
    return Need(f"ns/{name}", digest, wish, pods, gpus, created=created, **fields)


def held_from(decision: Decision, gpus: int, digest: str = "d", created: str = "1") -> Held:
    return held_at(decision.slots, gpus, digest=digest, proposed=decision.proposed, created=created)


def held_at(slots: Mapping[Slot, str], gpus: int, **fields: Any) -> Held:
    return Held(fields.pop("digest", "d"), "MI300X", slots, gpus, resource="amd.com/gpu", **fields)


def decide(nodes: list[Node], *needs: Need, held: dict[str, Held] | None = None) -> dict[str, Decision]:
    return {key.partition("/")[2]: it for key, it in allocate(nodes, needs, held or {}, PATIENCE).items()}


def hosts(decision: Decision) -> list[str]:
    return list(decision.slots.values())
