"""Services that read one ReadWriteOnce claim: what is said of them where one waits for the node of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from app.scheduling.request import Decision, PlacementRequest


def with_volumes(decisions: Mapping[str, Decision], needs: Iterable[PlacementRequest]) -> dict[str, Decision]:
    """The decisions; those that wait for the one node where their volume is also say which, and what to do."""
    explained = dict(decisions)
    for need in needs if any(it.beside for it in decisions.values()) else ():
        decision = decisions[need.service]
        if decision.beside and decision.message:
            said = _message(need.claim, *decision.beside)
            explained[need.service] = replace(decision, message=f"{decision.message} {said}")
    return explained


def _message(claim: str, neighbour: str, node: str) -> str:
    """Neighbours are of the same namespace, for claims are."""
    name, other = claim.partition("/")[2], neighbour.partition("/")[2]
    return (
        f"PersistentVolumeClaim {name} is ReadWriteOnce, and service {other} has its place on node {node}: no other "
        "node will do. Set accessMode ReadWriteMany or caching.replicas 2 in the ModelCache, or use a ModelCache of "
        "its own."
    )
