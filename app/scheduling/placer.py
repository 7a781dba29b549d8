"""Places for one service's groups, booked in the ledger: found, taken and given up again.

A place is taken only while the tenant's quota leaves room for it, and while the look has work left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from app.scheduling.assignment import Draft
from app.scheduling.colocation import Sharing
from app.scheduling.nodes import Eligibility
from app.scheduling.placement import count_groups, place_group
from app.scheduling.quota import Quota
from app.scheduling.request import Slot
from app.scheduling.snapshot import Ledger


class Filler:
    """Fills drafts; what it does to a draft it does to the ledger too."""

    def __init__(self, ledger: Ledger, eligible: Eligibility, most_looks: int, drafts: Iterable[Draft]) -> None:
        self.ledger, self.eligible, self._most_looks = ledger, eligible, most_looks
        self._tried = 0
        self.quota = Quota(ledger, eligible)
        self.sharing = Sharing(drafts)

    @property
    def is_spent(self) -> bool:
        """Whether this look has done all the work it may; one group is tried in any case, so that it is of use."""
        return self._tried > 0 and self.ledger.looks >= self._most_looks

    def allowed(self, draft: Draft, product: str) -> list[int]:
        """Nodes of a product that it may use now: where others have what it shares, and those that its quota reaches
        for."""
        places = self.eligible.now(draft.need.wish, product)
        if homes := self.sharing.homes(draft.need):
            places = [place for place in places if self.ledger.nodes[place].host in homes]
        return self.quota.affordable(draft, places)

    def lacks_quota(self, draft: Draft, pods: int) -> bool:
        """Whether the quota does not reach for so many more pods, whatever is free; what its earlier request holds
        counts as free."""
        with self.lending(draft):
            return not self.quota.may_hold(draft, pods)

    def _among_others(self, draft: Draft, places: list[int]) -> list[int]:
        """The first of several that share something goes rather where all find room."""
        wanted = self.sharing.find_wanted(draft)
        return [place for place in places if self.ledger.free[place] >= wanted] or places if wanted else places

    def place(self, draft: Draft, groups: range) -> None:
        if not draft.lacks(groups):
            return
        with self.lending(draft):
            before = self.ledger.looks
            self._fill(draft, groups)
            if self.drop_torn(draft, groups):
                self._fill(draft, groups)
            affordable = self.ledger.looks + 2 * (self.ledger.looks - before) < self._most_looks
            apart = draft.need.apart and len(groups) > 1
            if apart and affordable and draft.lacks(groups):
                self._even_out(draft, groups)

    @contextmanager
    def lending(self, draft: Draft) -> Iterator[None]:
        """While it lasts, what the earlier request of this service holds counts as free."""
        self._lend(draft, 1)
        if draft.was_exclusive and draft.former:
            former = {self.ledger.nodes[place].host for place in draft.former}
            self.ledger.lend(former.difference(draft.slots.values()), draft.need.service)
        yield
        self.ledger.take_back(draft.need.service)
        self._lend(draft, -1)

    def _fill(self, draft: Draft, groups: range, even: bool = False) -> None:
        """Every group that finds a place, on the product that is chosen already or on the best one."""
        if not draft.slots and len(groups) == 1:
            self._place_on_first(draft, groups.start)
        elif not draft.slots:
            draft.product = self._best_product(draft, self.eligible.products(draft.need.wish), groups)
        started, full = {group for group, _ in draft.slots}, False
        for group in groups:
            if group in started or not full:
                full |= not self._place_one(draft, group, even) and group not in started

    def _even_out(self, draft: Draft, groups: range) -> None:
        """Once more on the emptiest nodes: fullest first leaves too few nodes for pods that must be apart."""
        for group in groups:
            placed = draft.placed(group)
            if draft.proposed.issuperset(placed):
                self.give_up(draft, placed)
        self._fill(draft, groups, even=True)

    def _place_on_first(self, draft: Draft, group: int) -> None:
        """The usual service has one group: it goes where it fits first."""
        for product in self.eligible.products(draft.need.wish):
            draft.product = product
            self._place_one(draft, group)
            if draft.slots:
                return
        draft.product = None

    def _lend(self, draft: Draft, sign: int) -> None:
        for place, count in self._still_former(draft).items():
            self.ledger.free[place] += sign * count
            if not draft.was_exclusive:
                self.ledger.use(draft.need.tenant, -sign * count)

    def _still_former(self, draft: Draft) -> dict[int, int]:
        """What the earlier request holds beside what the new decision uses of it."""
        if not draft.former:
            return {}
        need, used = draft.need, dict[int, int]()
        for slot in draft.slots.keys() - draft.running:
            place = self.ledger.find(draft.slots[slot], need.wish.resource)
            if place is not None:
                used[place] = used.get(place, 0) + need.gpus
        return {place: max(0, gpus - used.get(place, 0)) for place, gpus in draft.former.items()}

    def _best_product(self, draft: Draft, products: Sequence[str], groups: range) -> str | None:
        """The first on which all groups fit, else the one that holds most of them."""
        need, most = draft.need, 0
        best: str | None = None
        for product in products:
            fitting = count_groups(need.group(product), self.allowed(draft, product), self.ledger)
            if fitting >= len(groups):
                return product
            best, most = (product, fitting) if fitting > most else (best, most)
        return best

    def _place_one(self, draft: Draft, group: int, even: bool = False) -> bool:
        """The whole group, or those of its pods that lost their place, near to the others; whether it is whole now."""
        need, missing = draft.need, draft.missing(group)
        if not missing or draft.product is None:
            return not missing
        if self.is_spent:
            draft.unseen = True
            return False
        if not self.quota.may_hold(draft, len(missing)):
            return False
        self._tried += 1
        stay = [draft.slots[slot] for slot in draft.placed(group)]
        anchors = [place for host in stay if (place := self.ledger.find(host, need.wish.resource)) is not None]
        places = self._among_others(draft, self.allowed(draft, draft.product))
        if need.apart:
            places = [place for place in places if place not in anchors]
        wanted = replace(need.group(draft.product, len(missing)), even=even)
        found = place_group(wanted, places, self.ledger, anchors)
        if found and not self.quota.affords(need, found):
            found = place_group(wanted, self.quota.cheapest(need, wanted, places), self.ledger, anchors)
            found = found if found and self.quota.affords(need, found) else None
        for slot, place in zip(missing, found or (), strict=bool(found)):
            self.book(draft, slot, place)
            draft.proposed.add(slot)
        return found is not None

    def book(self, draft: Draft, slot: Slot, place: int) -> None:
        self.ledger.book(place, draft.need.gpus, draft.need.service, draft.need.exclusive)
        draft.slots[slot] = self.ledger.nodes[place].host
        self.sharing.count(draft.need, draft.slots[slot], 1)

    def give_up(self, draft: Draft, slots: Iterable[Slot]) -> None:
        """Places in which nothing runs."""
        need = draft.need
        for slot in slots:
            host = draft.slots.pop(slot)
            self.sharing.count(need, host, -1)
            place = self.ledger.find(host, need.wish.resource)
            draft.proposed.discard(slot)
            if place is not None:
                self.ledger.release(place, need.gpus, need.service, need.exclusive)

    def restore(self, draft: Draft, slots: Mapping[Slot, str], product: str | None) -> None:
        """New places that were given up for a trial."""
        draft.product = product
        for slot, host in slots.items():
            place = self.ledger.find(host, draft.need.wish.resource)
            if place is not None:
                self.book(draft, slot, place)
                draft.proposed.add(slot)

    def drop_torn(self, draft: Draft, groups: Iterable[int]) -> bool:
        """Groups that are neither whole nor running give up what they have; whether there were any."""
        torn = [group for group in groups if draft.is_torn(group)]
        for group in torn:
            self.give_up(draft, draft.placed(group))
        return bool(torn)
