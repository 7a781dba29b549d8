"""Nodes that are held back for a service that has waited long, so that others do not take them one by one."""

from __future__ import annotations

from collections.abc import Callable

from app.scheduling.islands import exceeds_island
from app.scheduling.nodes import Eligibility
from app.scheduling.quota import Quota
from app.scheduling.request import PlacementRequest
from app.scheduling.snapshot import Snapshot

MOST = 64
"""Services for which nodes are looked for in one call, the first of the line."""

Allowed = Callable[[str], list[int]]
"""The nodes of a product that a service may use now, free or not."""


class Reserver:
    """Holds nodes back in a snapshot."""

    def __init__(self, snapshot: Snapshot, eligible: Eligibility, quota: Quota) -> None:
        self._snapshot, self._eligible, self._quota = snapshot, eligible, quota
        self._tried = 0

    def reserve(self, request: PlacementRequest, allowed: Allowed) -> None:
        """The nodes that lack least for one group are held back, as few as it needs; rather such as others of the pool
        will leave than such as pods of no service hold."""
        self._tried += 1
        if self._tried > MOST:
            return
        for counts_foreign in (True, False):
            for product in self._eligible.products(request.requirements):
                if found := self._closest(request, allowed(product), counts_foreign):
                    self._snapshot.reserve(found, request.service)
                    return

    def _closest(self, request: PlacementRequest, places: list[int], counts_foreign: bool) -> list[int]:
        """Nodes that would hold one group once services have left them, [] when they do not, or are past its quota."""
        free, nodes = self._snapshot.free, self._snapshot.nodes
        count, chosen = 0, list[int]()
        for place in sorted(places, key=lambda place: (-free[place], nodes[place].host)):
            slots = self._slots_at_most(request, place, counts_foreign)
            if count < request.nodes and slots:
                chosen.append(place)
                count += slots
        return chosen if count >= request.nodes and self._quota.affords(request, chosen) else []

    def _slots_at_most(self, request: PlacementRequest, place: int, counts_foreign: bool) -> int:
        """Pods that a node holds when no other service is there."""
        node, foreign = self._snapshot.nodes[place], self._snapshot.nodes[place].unmanaged_usage or 0
        taken = self._snapshot.exclusive_holder(place) not in ("", request.service) or self._snapshot.reserved_for(
            place
        )
        if taken or exceeds_island(request.island(node.product), node):
            return 0
        if counts_foreign and request.exclusive and foreign:
            return 0
        slots = (node.gpus - foreign * counts_foreign) // request.gpus_per_node
        return min(slots, 1) if request.one_pod_per_node else slots
