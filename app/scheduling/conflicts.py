"""What the observed decisions promise, all together: where they contradict each other, none of them is certain yet.

Decisions of services that ask for nothing any more count too, as long as they are there to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.scheduling.request import Held
from app.scheduling.snapshot import Ledger


class Promises:
    """GPUs by node and services by host that the decisions name."""

    def __init__(self, ledger: Ledger, held: Mapping[str, Held]) -> None:
        self._ledger = ledger
        self._gpus = [0] * len(ledger.nodes)
        self._services: dict[str, set[str]] = {}
        self._owners: dict[str, set[str]] = {}
        for service, decision in held.items():
            self._count(service, decision)

    def _count(self, service: str, decision: Held) -> None:
        for host in decision.slots.values():
            self._services.setdefault(host, set()).add(service)
            if decision.exclusive:
                self._owners.setdefault(host, set()).add(service)
            place = self._ledger.find(host, decision.resource)
            if place is not None:
                self._gpus[place] += decision.gpus

    def are_contested(self, place: int) -> bool:
        """More GPUs are promised than the node has, or its host both to one service alone and to another one."""
        node = self._ledger.nodes[place]
        shared = len(self._services.get(node.host, ())) > 1
        return self._gpus[place] > node.gpus or (shared and node.host in self._owners)
