"""Places for one service's groups, booked in the snapshot: found, taken and given up again.

A place is taken only while the tenant's quota leaves room for it, and while the cycle has work left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from app.scheduling.assignment import Assignment
from app.scheduling.colocation import Colocation
from app.scheduling.nodes import Eligibility
from app.scheduling.placement import count_groups, place_group
from app.scheduling.quota import Quota
from app.scheduling.request import Slot
from app.scheduling.snapshot import Snapshot


class GroupPlacer:
    """Fills assignments; what it does to a assignment it does to the snapshot too."""

    def __init__(
        self, snapshot: Snapshot, eligible: Eligibility, most_examined: int, assignments: Iterable[Assignment]
    ) -> None:
        self.snapshot, self.eligible, self._most_examined = snapshot, eligible, most_examined
        self._tried = 0
        self.quota = Quota(snapshot, eligible)
        self.colocation = Colocation(assignments)

    @property
    def is_spent(self) -> bool:
        """Whether this cycle has done all the work it may; one group is tried in any case, so that it is of use."""
        return self._tried > 0 and self.snapshot.examined >= self._most_examined

    def allowed(self, assignment: Assignment, product: str) -> list[int]:
        """Nodes of a product that it may use now: where others have what it shares, and those that its quota reaches
        for."""
        places = self.eligible.now(assignment.request.requirements, product)
        if homes := self.colocation.homes(assignment.request):
            places = [place for place in places if self.snapshot.nodes[place].host in homes]
        return self.quota.affordable(assignment, places)

    def lacks_quota(self, assignment: Assignment, pods: int) -> bool:
        """Whether the quota does not reach for so many more pods, whatever is free; what its earlier request holds
        counts as free."""
        with self.reusing_previous_usage(assignment):
            return not self.quota.may_hold(assignment, pods)

    def _among_others(self, assignment: Assignment, places: list[int]) -> list[int]:
        """The first of several that share something goes rather where all find room."""
        wanted = self.colocation.find_wanted(assignment)
        return [place for place in places if self.snapshot.free[place] >= wanted] or places if wanted else places

    def place(self, assignment: Assignment, groups: range) -> None:
        if not assignment.lacks(groups):
            return
        with self.reusing_previous_usage(assignment):
            before = self.snapshot.examined
            self._fill(assignment, groups)
            if self.drop_partially_placed(assignment, groups):
                self._fill(assignment, groups)
            affordable = self.snapshot.examined + 2 * (self.snapshot.examined - before) < self._most_examined
            apart = assignment.request.one_pod_per_node and len(groups) > 1
            if apart and affordable and assignment.lacks(groups):
                self._spread_out(assignment, groups)

    @contextmanager
    def reusing_previous_usage(self, assignment: Assignment) -> Iterator[None]:
        """While it lasts, what the earlier request of this service holds counts as free."""
        self._lend(assignment, 1)
        if assignment.was_exclusive and assignment.previous_usage:
            former = {self.snapshot.nodes[place].host for place in assignment.previous_usage}
            self.snapshot.lend(former.difference(assignment.hosts.values()), assignment.request.service)
        yield
        self.snapshot.take_back(assignment.request.service)
        self._lend(assignment, -1)

    def _fill(self, assignment: Assignment, groups: range, even: bool = False) -> None:
        """Every group that finds a place, on the product that is chosen already or on the best one."""
        if not assignment.hosts and len(groups) == 1:
            self._place_on_first(assignment, groups.start)
        elif not assignment.hosts:
            assignment.product = self._best_product(
                assignment, self.eligible.products(assignment.request.requirements), groups
            )
        started, full = {group for group, _ in assignment.hosts}, False
        for group in groups:
            if group in started or not full:
                full |= not self._place_one(assignment, group, even) and group not in started

    def _spread_out(self, assignment: Assignment, groups: range) -> None:
        """Once more on the emptiest nodes: fullest first leaves too few nodes for pods that must be apart."""
        for group in groups:
            placed = assignment.placed(group)
            if assignment.proposed.issuperset(placed):
                self.give_up(assignment, placed)
        self._fill(assignment, groups, even=True)

    def _place_on_first(self, assignment: Assignment, group: int) -> None:
        """The usual service has one group: it goes where it fits first."""
        for product in self.eligible.products(assignment.request.requirements):
            assignment.product = product
            self._place_one(assignment, group)
            if assignment.hosts:
                return
        assignment.product = None

    def _lend(self, assignment: Assignment, sign: int) -> None:
        for place, count in self._unused_previous(assignment).items():
            self.snapshot.free[place] += sign * count
            if not assignment.was_exclusive:
                self.snapshot.use(assignment.request.tenant, -sign * count)

    def _unused_previous(self, assignment: Assignment) -> dict[int, int]:
        """What the earlier request holds beside what the new decision uses of it."""
        if not assignment.previous_usage:
            return {}
        request, used = assignment.request, dict[int, int]()
        for slot in assignment.hosts.keys() - assignment.running:
            place = self.snapshot.find(assignment.hosts[slot], request.requirements.resource)
            if place is not None:
                used[place] = used.get(place, 0) + request.gpus_per_node
        return {place: max(0, gpus - used.get(place, 0)) for place, gpus in assignment.previous_usage.items()}

    def _best_product(self, assignment: Assignment, products: Sequence[str], groups: range) -> str | None:
        """The first on which all groups fit, else the one that holds most of them."""
        request, most = assignment.request, 0
        best: str | None = None
        for product in products:
            fitting = count_groups(request.group(product), self.allowed(assignment, product), self.snapshot)
            if fitting >= len(groups):
                return product
            best, most = (product, fitting) if fitting > most else (best, most)
        return best

    def _place_one(self, assignment: Assignment, group: int, even: bool = False) -> bool:
        """The whole group, or those of its pods that lost their place, near to the others; whether it is whole now."""
        request, missing = assignment.request, assignment.missing(group)
        if not missing or assignment.product is None:
            return not missing
        if self.is_spent:
            assignment.untried = True
            return False
        if not self.quota.may_hold(assignment, len(missing)):
            return False
        self._tried += 1
        stay = [assignment.hosts[slot] for slot in assignment.placed(group)]
        anchors = [
            place for host in stay if (place := self.snapshot.find(host, request.requirements.resource)) is not None
        ]
        places = self._among_others(assignment, self.allowed(assignment, assignment.product))
        if request.one_pod_per_node:
            places = [place for place in places if place not in anchors]
        wanted = replace(request.group(assignment.product, len(missing)), spread=even)
        found = place_group(wanted, places, self.snapshot, anchors)
        if found and not self.quota.affords(request, found):
            found = place_group(wanted, self.quota.cheapest(request, wanted, places), self.snapshot, anchors)
            found = found if found and self.quota.affords(request, found) else None
        for slot, place in zip(missing, found or (), strict=bool(found)):
            self.book(assignment, slot, place)
            assignment.proposed.add(slot)
        return found is not None

    def book(self, assignment: Assignment, slot: Slot, place: int) -> None:
        self.snapshot.book(
            place, assignment.request.gpus_per_node, assignment.request.service, assignment.request.exclusive
        )
        assignment.hosts[slot] = self.snapshot.nodes[place].host
        self.colocation.count(assignment.request, assignment.hosts[slot], 1)

    def give_up(self, assignment: Assignment, slots: Iterable[Slot]) -> None:
        """Places in which nothing runs."""
        request = assignment.request
        for slot in slots:
            host = assignment.hosts.pop(slot)
            self.colocation.count(request, host, -1)
            place = self.snapshot.find(host, request.requirements.resource)
            assignment.proposed.discard(slot)
            if place is not None:
                self.snapshot.release(place, request.gpus_per_node, request.service, request.exclusive)

    def restore(self, assignment: Assignment, slots: Mapping[Slot, str], product: str | None) -> None:
        """New places that were given up for a trial."""
        assignment.product = product
        for slot, host in slots.items():
            place = self.snapshot.find(host, assignment.request.requirements.resource)
            if place is not None:
                self.book(assignment, slot, place)
                assignment.proposed.add(slot)

    def drop_partially_placed(self, assignment: Assignment, groups: Iterable[int]) -> bool:
        """Groups that are neither whole nor running give up what they have; whether there were any."""
        torn = [group for group in groups if assignment.is_partially_placed(group)]
        for group in torn:
            self.give_up(assignment, assignment.placed(group))
        return bool(torn)
