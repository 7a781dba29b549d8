"""What the quota of a tenant leaves room for.

A pod of an exclusive service costs a whole host, or nothing where another one of it is already. So its cost is known
only with its place, and of places that would do the quota may reach for some. Who waits for leave, whatever is free, is
told by the least that the pods may cost.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.scheduling.assignment import Draft
from app.scheduling.nodes import Eligibility
from app.scheduling.placement import Group, capacity
from app.scheduling.request import Need
from app.scheduling.snapshot import Ledger


class Quota:
    """Reads the ledger; changes nothing but the count of looks."""

    def __init__(self, ledger: Ledger, eligible: Eligibility) -> None:
        self._ledger, self._eligible = ledger, eligible
        self._sizes: dict[object, list[int]] = {}

    def room(self, need: Need) -> int:
        """GPUs that its tenant may get; negative where what runs is past the quota."""
        return sys.maxsize if need.quota is None else need.quota - self._ledger.used.get(need.tenant, 0)

    def affords(self, need: Need, places: Sequence[int]) -> bool:
        """Whether the tenant may have a pod on each of the places."""
        return self._ledger.cost(places, need.gpus, need.service, need.exclusive) <= self.room(need)

    def affordable(self, draft: Draft, places: list[int]) -> list[int]:
        """The places for a pod whose hosts the quota reaches for, each by itself."""
        need, ledger = draft.need, self._ledger
        room = self.room(need)
        if not need.exclusive or ledger.largest <= room:
            return places
        ledger.looks += len(places)
        own = {place for host in draft.slots.values() if (place := ledger.find(host, need.wish.resource)) is not None}
        return [place for place in places if ledger.sizes[place] <= room or place in own]

    def reaches_everywhere(self, need: Need) -> bool:
        """Whether there is room for a group wherever it would go."""
        return need.pods * (self._ledger.largest if need.exclusive else need.gpus) <= self.room(need)

    def cheapest(self, need: Need, group: Group, places: Sequence[int]) -> list[int]:
        """Those of the places that hold the group and cost least: exactly where its pods must be apart."""
        held, chosen = 0, list[int]()
        cost = {it: self._ledger.cost([it], need.gpus, need.service, need.exclusive) for it in places}
        for place in sorted(places, key=lambda it: (cost[it], it)):
            if held < group.pods and (slots := capacity(group, place, self._ledger)):
                chosen.append(place)
                held += slots
        return chosen

    def may_hold(self, draft: Draft, pods: int) -> bool:
        """Whether there is room for so many more pods at the least that they may cost, whatever is free."""
        need = draft.need
        if not need.exclusive or need.quota is None:
            return pods * need.gpus <= self.room(need)
        room = self.room(need)
        return self._least(need, pods) <= room or self._least(need, pods - self._beside_own(draft)) <= room

    def _least(self, need: Need, pods: int) -> int:
        """GPUs of the hosts that so many pods close at least; 0 where no product has hosts for them now."""
        products = self._eligible.products(need.wish)
        costs = (_least_of(self._host_sizes(need, product), need, pods) for product in products)
        return min((it for it in costs if it is not None), default=0)

    def _beside_own(self, draft: Draft) -> int:
        """Pods that find room on hosts that the service has already."""
        need, ledger = draft.need, self._ledger
        found = (ledger.find(host, need.wish.resource) for host in set(draft.slots.values()))
        slots = (max(0, ledger.free[place]) // need.gpus for place in found if place is not None)
        return sum(min(1, it) if need.apart else it for it in slots)

    def _host_sizes(self, need: Need, product: str) -> list[int]:
        """GPUs of the hosts of a product that could ever hold a pod of it, the smallest first."""
        key = need.wish.reach, product, need.gpus
        if key not in self._sizes:
            nodes = self._ledger.nodes
            places = self._eligible.ever(need.wish, product)
            hosts = {nodes[place].host for place in places if nodes[place].gpus >= need.gpus}
            self._sizes[key] = sorted(map(self._ledger.size, hosts))
        return self._sizes[key]


def _least_of(sizes: Sequence[int], need: Need, pods: int) -> int | None:
    """What the cheapest of these hosts cost that hold so many pods, or less; None where they are too few."""
    if pods <= 0:
        return 0
    together = 1 if need.apart or not sizes else sizes[-1] // need.gpus
    hosts = -(-pods // together)
    return max(pods * need.gpus, sum(sizes[:hosts])) if hosts <= len(sizes) else None
