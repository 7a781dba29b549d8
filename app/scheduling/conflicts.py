"""What the observed decisions promise, all together: where they contradict each other, none of them is certain yet.

Decisions of services that ask for nothing any more count too, as long as they are there to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.scheduling.request import ExistingAllocation
from app.scheduling.snapshot import Snapshot


class AllocationConflicts:
    """GPUs by node and services by host that the decisions name."""

    def __init__(self, snapshot: Snapshot, existing: Mapping[str, ExistingAllocation]) -> None:
        self._snapshot = snapshot
        self._gpus = [0] * len(snapshot.nodes)
        self._services: dict[str, set[str]] = {}
        self._owners: dict[str, set[str]] = {}
        for service, decision in existing.items():
            self._count(service, decision)

    def _count(self, service: str, decision: ExistingAllocation) -> None:
        for host in decision.hosts.values():
            self._services.setdefault(host, set()).add(service)
            if decision.exclusive:
                self._owners.setdefault(host, set()).add(service)
            place = self._snapshot.find(host, decision.resource)
            if place is not None:
                self._gpus[place] += decision.gpus_per_node

    def is_double_booked(self, place: int) -> bool:
        """More GPUs are promised than the node has, or its host both to one service alone and to another one."""
        node = self._snapshot.nodes[place]
        shared = len(self._services.get(node.host, ())) > 1
        return self._gpus[place] > node.gpus or (shared and node.host in self._owners)
