"""What the quota of a tenant leaves room for.

A pod of an exclusive service costs a whole host, or nothing where another one of it is already. So its cost is known
only with its place, and of places that would do the quota may reach for some. Who waits for leave, whatever is free, is
told by the least that the pods may cost.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.scheduling.assignment import Assignment
from app.scheduling.nodes import Eligibility
from app.scheduling.placement import Group, capacity
from app.scheduling.request import PlacementRequest
from app.scheduling.snapshot import Snapshot


class Quota:
    """Reads the snapshot; changes nothing but the count of examined nodes."""

    def __init__(self, snapshot: Snapshot, eligible: Eligibility) -> None:
        self._snapshot, self._eligible = snapshot, eligible
        self._sizes: dict[object, list[int]] = {}

    def room(self, request: PlacementRequest) -> int:
        """GPUs that its tenant may get; negative where what runs is past the quota."""
        return sys.maxsize if request.quota is None else request.quota - self._snapshot.used.get(request.tenant, 0)

    def affords(self, request: PlacementRequest, places: Sequence[int]) -> bool:
        """Whether the tenant may have a pod on each of the places."""
        return self._snapshot.cost(places, request.gpus_per_node, request.service, request.exclusive) <= self.room(
            request
        )

    def affordable(self, assignment: Assignment, places: list[int]) -> list[int]:
        """The places for a pod whose hosts the quota reaches for, each by itself."""
        request, snapshot = assignment.request, self._snapshot
        room = self.room(request)
        if not request.exclusive or snapshot.largest <= room:
            return places
        snapshot.examined += len(places)
        own = {
            place
            for host in assignment.hosts.values()
            if (place := snapshot.find(host, request.requirements.resource)) is not None
        }
        return [place for place in places if snapshot.sizes[place] <= room or place in own]

    def reaches_everywhere(self, request: PlacementRequest) -> bool:
        """Whether there is room for a group wherever it would go."""
        return request.nodes * (self._snapshot.largest if request.exclusive else request.gpus_per_node) <= self.room(
            request
        )

    def cheapest(self, request: PlacementRequest, group: Group, places: Sequence[int]) -> list[int]:
        """Those of the places that hold the group and cost least: exactly where its pods must be apart."""
        existing, chosen = 0, list[int]()
        cost = {
            it: self._snapshot.cost([it], request.gpus_per_node, request.service, request.exclusive) for it in places
        }
        for place in sorted(places, key=lambda it: (cost[it], it)):
            if existing < group.pods and (slots := capacity(group, place, self._snapshot)):
                chosen.append(place)
                existing += slots
        return chosen

    def may_hold(self, assignment: Assignment, pods: int) -> bool:
        """Whether there is room for so many more pods at the least that they may cost, whatever is free."""
        request = assignment.request
        if not request.exclusive or request.quota is None:
            return pods * request.gpus_per_node <= self.room(request)
        room = self.room(request)
        return self._least(request, pods) <= room or self._least(request, pods - self._beside_own(assignment)) <= room

    def _least(self, request: PlacementRequest, pods: int) -> int:
        """GPUs of the hosts that so many pods close at least; 0 where no product has hosts for them now."""
        products = self._eligible.products(request.requirements)
        costs = (_least_of(self._host_sizes(request, product), request, pods) for product in products)
        return min((it for it in costs if it is not None), default=0)

    def _beside_own(self, assignment: Assignment) -> int:
        """Pods that find room on hosts that the service has already."""
        request, snapshot = assignment.request, self._snapshot
        found = (snapshot.find(host, request.requirements.resource) for host in set(assignment.hosts.values()))
        slots = (max(0, snapshot.free[place]) // request.gpus_per_node for place in found if place is not None)
        return sum(min(1, it) if request.one_pod_per_node else it for it in slots)

    def _host_sizes(self, request: PlacementRequest, product: str) -> list[int]:
        """GPUs of the hosts of a product that could ever hold a pod of it, the smallest first."""
        key = request.requirements.equivalence_class, product, request.gpus_per_node
        if key not in self._sizes:
            nodes = self._snapshot.nodes
            places = self._eligible.ever(request.requirements, product)
            hosts = {nodes[place].host for place in places if nodes[place].gpus >= request.gpus_per_node}
            self._sizes[key] = sorted(map(self._snapshot.size, hosts))
        return self._sizes[key]


def _least_of(sizes: Sequence[int], request: PlacementRequest, pods: int) -> int | None:
    """What the cheapest of these hosts cost that hold so many pods, or less; None where they are too few."""
    if pods <= 0:
        return 0
    together = 1 if request.one_pod_per_node or not sizes else sizes[-1] // request.gpus_per_node
    hosts = -(-pods // together)
    return max(pods * request.gpus_per_node, sum(sizes[:hosts])) if hosts <= len(sizes) else None
