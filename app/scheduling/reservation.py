"""Nodes that are held back for a service that has waited long, so that others do not take them one by one."""

from __future__ import annotations

from collections.abc import Callable

from app.scheduling.nodes import Eligibility
from app.scheduling.quota import Quota
from app.scheduling.request import Need
from app.scheduling.snapshot import Ledger

MOST = 64
"""Services for which nodes are looked for in one call, the first of the line."""

Allowed = Callable[[str], list[int]]
"""The nodes of a product that a service may use now, free or not."""


class Reserver:
    """Holds nodes back in a ledger."""

    def __init__(self, ledger: Ledger, eligible: Eligibility, quota: Quota) -> None:
        self._ledger, self._eligible, self._quota = ledger, eligible, quota
        self._tried = 0

    def reserve(self, need: Need, allowed: Allowed) -> None:
        """The nodes that lack least for one group are held back, as few as it needs; rather such as others of the pool
        will leave than such as pods of no service hold."""
        self._tried += 1
        if self._tried > MOST:
            return
        for counts_foreign in (True, False):
            for product in self._eligible.products(need.wish):
                if found := self._closest(need, allowed(product), counts_foreign):
                    self._ledger.reserve(found, need.service)
                    return

    def _closest(self, need: Need, places: list[int], counts_foreign: bool) -> list[int]:
        """Nodes that would hold one group once services have left them, [] when they do not, or are past its quota."""
        free, nodes = self._ledger.free, self._ledger.nodes
        count, chosen = 0, list[int]()
        for place in sorted(places, key=lambda place: (-free[place], nodes[place].host)):
            slots = self._slots_at_most(need, place, counts_foreign)
            if count < need.pods and slots:
                chosen.append(place)
                count += slots
        return chosen if count >= need.pods and self._quota.affords(need, chosen) else []

    def _slots_at_most(self, need: Need, place: int, counts_foreign: bool) -> int:
        """Pods that a node holds when no other service is there."""
        node, foreign = self._ledger.nodes[place], self._ledger.nodes[place].foreign or 0
        taken = self._ledger.owner(place) not in ("", need.service) or self._ledger.reserved_for(place)
        if taken or need.island(node.product) > (node.island or node.gpus):
            return 0
        if counts_foreign and need.exclusive and foreign:
            return 0
        slots = (node.gpus - foreign * counts_foreign) // need.gpus
        return min(slots, 1) if need.apart else slots
