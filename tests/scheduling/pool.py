"""One pool in a few words: nodes, needs, what was held, and the allocator's answer by short names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.scheduling.nodes import Node, NodeRequirements
from app.scheduling.request import Decision, ExistingAllocation, PlacementRequest, Slot
from app.scheduling.scheduler import allocate

PATIENCE = 600.0
WISH = NodeRequirements("amd.com/gpu", ())


def node(name: str, gpus: int = 8, **fields: Any) -> Node:
    return Node(name, "amd.com/gpu", fields.pop("product", "MI300X"), gpus, **fields)


def need(name: str = "a", gpus: int = 1, pods: int = 1, **fields: Any) -> PlacementRequest:
    digest, requirements, created = (
        fields.pop("digest", "d"),
        fields.pop("requirements", WISH),
        fields.pop("creation_timestamp", name),
    )
    return PlacementRequest(f"ns/{name}", digest, requirements, pods, gpus, creation_timestamp=created, **fields)


def held_from(decision: Decision, gpus: int, digest: str = "d", created: str = "1") -> ExistingAllocation:
    return held_at(decision.hosts, gpus, digest=digest, proposed=decision.proposed, creation_timestamp=created)


def held_at(slots: Mapping[Slot, str], gpus: int, **fields: Any) -> ExistingAllocation:
    return ExistingAllocation(fields.pop("digest", "d"), "MI300X", slots, gpus, resource="amd.com/gpu", **fields)


def decide(
    nodes: list[Node], *needs: PlacementRequest, held: dict[str, ExistingAllocation] | None = None
) -> dict[str, Decision]:
    return {key.partition("/")[2]: it for key, it in allocate(nodes, needs, held or {}, PATIENCE).items()}


def hosts(decision: Decision) -> list[str]:
    return list(decision.hosts.values())
