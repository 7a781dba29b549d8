"""One pool, all its services: who gets which GPUs.

Order of the ledger, each step on what the earlier ones left:

    1. pods that run, where they run; they are never moved
    2. earlier decisions about guaranteed groups: confirmed ones first, then older ones, then by uid. A decision is kept
       while its digest is the request's own. A pod's place is given up only when its node is gone (or not there any
       more), or when somebody who comes first in this order has the GPUs; then that pod is placed anew.
    3. guaranteed groups that have no GPUs: by priority, then age, then name. Who does not fit waits, and others may go
       ahead; who has waited `reserve_after` seconds has nodes held back.
       A request that changed gets a new decision. Until that is made its earlier GPUs stay booked; for the service
       itself they count as free, because its old pods go before the new ones come.
    4. groups beyond the guarantee, earlier decisions first: they give way to every guarantee above.

Two looks: a place that is chosen now, or that a pod took by itself, is *proposed*. It becomes certain when a later call
sees it among the earlier decisions, and sees no more promised on that node, by all decisions together, than it has. So
two decisions that were made without sight of each other never both count, and at no moment is a GPU promised twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from app.topology.explain import Explainer
from app.topology.ledger import Ledger
from app.topology.nodes import Eligibility, Node
from app.topology.placement import place_group
from app.topology.request import Decision, Held, Need, Outcome, Slot


@dataclass
class _Draft:
    """One service's decision in the making."""

    need: Need
    held: Held | None
    product: str | None = None
    """None = not chosen yet; "" is the product that nobody knows."""
    slots: dict[Slot, str] = field(default_factory=dict)
    proposed: set[Slot] = field(default_factory=set)
    former: dict[int, int] = field(default_factory=dict)
    """GPUs by node that were booked for an earlier request of this service."""
    breaches: list[str] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether what is held and what runs is of the request as it is now."""
        same_size = all(pod.gpus == self.need.gpus for pod in self.need.bound)
        return same_size and (self.held is None or self.held.digest == self.need.digest)

    def missing(self, group: int) -> list[Slot]:
        return [(group, worker) for worker in range(self.need.pods) if (group, worker) not in self.slots]

    def complete(self, groups: int) -> int:
        """Groups below this number whose pods all have a place."""
        return sum(not self.missing(group) for group in range(groups))


def allocate(
    nodes: Sequence[Node], needs: Iterable[Need], held: Mapping[str, Held], reserve_after: float
) -> dict[str, Decision]:
    """A decision for every need, by service. The order of nodes and needs does not matter."""
    return _Allocation(sorted(nodes, key=lambda node: (node.host, node.resource)), needs, held).run(reserve_after)


class _Allocation:
    def __init__(self, nodes: Sequence[Node], needs: Iterable[Need], held: Mapping[str, Held]) -> None:
        self.nodes = nodes
        self.ledger = Ledger(nodes)
        self.eligible = Eligibility(nodes)
        in_line = sorted(needs, key=lambda need: (-need.priority, need.created, need.service))
        self.drafts = [_Draft(need, held.get(need.service)) for need in in_line]
        self._promised = self._count_promised(held)
        self._possible: dict[object, bool] = {}
        self._alive = {(node.host, node.resource) for node in nodes if not node.is_gone}

    def run(self, reserve_after: float) -> dict[str, Decision]:
        by_age = sorted(self.drafts, key=_seniority)
        for draft in self.drafts:
            self._book_running(draft)
        for draft in by_age:
            self._keep(draft, range(draft.need.least))
        for draft in self.drafts:
            self._place(draft, range(draft.need.least))
            if draft.need.waited >= reserve_after and _waits(draft):
                self._reserve(draft)
        for draft in by_age:
            self._keep(draft, range(draft.need.least, draft.need.target))
        for draft in self.drafts:
            self._place(draft, range(draft.need.least, draft.need.target))
        return self._decisions()

    def _count_promised(self, held: Mapping[str, Held]) -> list[int]:
        """GPUs of each node that the observed decisions name, all together."""
        resources = {draft.need.service: draft.need.wish.resource for draft in self.drafts}
        promised = [0] * len(self.nodes)
        for service, decision in held.items():
            for host in decision.slots.values():
                place = self.ledger.find(host, resources.get(service, ""))
                if place is not None:
                    promised[place] += decision.gpus
        return promised

    # 1. what runs

    def _book_running(self, draft: _Draft) -> None:
        """Pods of an earlier request are booked, but are no part of the decision; GPUs of a node that is gone are
        given up."""
        need = draft.need
        for pod in need.bound:
            place = self.ledger.find(pod.host, need.wish.resource)
            if place is not None:
                self.ledger.book(place, pod.gpus, need.service, need.exclusive)
            if not draft.is_known:
                self._remember(draft, place, pod.gpus)
            elif pod.group < need.target and pod.worker < need.pods and not self._is_lost(place):
                self._settle(draft, (pod.group, pod.worker), pod.host, place)

    def _is_lost(self, place: int | None) -> bool:
        return place is not None and self.nodes[place].is_gone

    def _remember(self, draft: _Draft, place: int | None, gpus: int) -> None:
        if place is not None:
            draft.former[place] = draft.former.get(place, 0) + gpus

    def _settle(self, draft: _Draft, slot: Slot, host: str, place: int | None) -> None:
        draft.slots[slot] = host
        if place is None:
            draft.breaches.append(f"pod {slot[1]} of group {slot[0]} runs on {host}, which is not in this pool")
        elif draft.product is None:
            draft.product = self.nodes[place].product

    # 2. and 4. what was decided

    def _keep(self, draft: _Draft, groups: range) -> None:
        need, held = draft.need, draft.held
        if held is None:
            return
        if not draft.is_known:
            self._keep_former(draft, held, groups)
            return
        draft.product = held.product if draft.product is None else draft.product
        wanted = (slot for slot in sorted(held.slots) if slot[0] in groups and slot[1] < need.pods)
        for slot in wanted:
            host = held.slots[slot]
            place = self.ledger.find(host, need.wish.resource)
            if slot in draft.slots or place is None or (host, need.wish.resource) not in self._alive:
                continue
            if self._is_still_free(draft, place):
                self.ledger.book(place, need.gpus, need.service, need.exclusive)
                draft.slots[slot] = host

    def _keep_former(self, draft: _Draft, held: Held, groups: range) -> None:
        """GPUs of the earlier request in which no pod runs at the moment."""
        running = {(pod.group, pod.worker) for pod in draft.need.bound}
        for slot in sorted(held.slots.keys() - running):
            place = self.ledger.find(held.slots[slot], draft.need.wish.resource)
            if slot[0] in groups and place is not None and self.ledger.free[place] >= held.gpus:
                self.ledger.book(place, held.gpus, draft.need.service, draft.need.exclusive)
                self._remember(draft, place, held.gpus)

    def _is_still_free(self, draft: _Draft, place: int) -> bool:
        """For an exclusive service its own host stays its own, also when foreign pods have come since."""
        need = draft.need
        open_to_us = self.ledger.owner(place) in ("", need.service)
        alone = not need.exclusive or set(self.ledger.guests(place)) <= {need.service}
        return open_to_us and alone and self.ledger.free[place] >= need.gpus

    # 3. and 4. what is new

    def _place(self, draft: _Draft, groups: range) -> None:
        need = draft.need
        if not any(draft.missing(group) for group in groups):
            return
        self._lend(draft, draft.former)
        if not draft.slots and len(groups) == 1:
            self._place_on_first(draft, groups.start)
        elif not draft.slots:
            draft.product = self._best_product(draft, self.eligible.products(need.wish), groups)
        for group in groups:
            self._place_one(draft, group)
        self._lend(draft, {place: -gpus for place, gpus in self._still_former(draft).items()})

    def _place_on_first(self, draft: _Draft, group: int) -> None:
        """The usual service has one group: it goes where it fits first."""
        for product in self.eligible.products(draft.need.wish):
            draft.product = product
            self._place_one(draft, group)
            if draft.slots:
                return
        draft.product = None

    def _lend(self, draft: _Draft, gpus: Mapping[int, int]) -> None:
        for place, count in gpus.items():
            self.ledger.free[place] += count

    def _still_former(self, draft: _Draft) -> dict[int, int]:
        """What the earlier request holds beside what the new decision uses of it."""
        need, used = draft.need, dict[int, int]()
        for slot in draft.proposed:
            place = self.ledger.find(draft.slots[slot], need.wish.resource)
            if place is not None:
                used[place] = used.get(place, 0) + need.gpus
        return {place: max(0, gpus - used.get(place, 0)) for place, gpus in draft.former.items()}

    def _best_product(self, draft: _Draft, products: Sequence[str], groups: range) -> str | None:
        """The first on which all groups fit, else the one that holds most of them; a trial changes nothing."""
        need, most = draft.need, 0
        best: str | None = None
        for product in products:
            places = self.eligible.now(need.wish, product)
            fitting = self._count_fitting(need, product, places, len(groups))
            if fitting == len(groups):
                return product
            best, most = (product, fitting) if fitting > most else (best, most)
        return best

    def _count_fitting(self, need: Need, product: str, places: Sequence[int], groups: int) -> int:
        """How many groups could be placed: tried on the ledger, and taken back."""
        taken: list[int] = []
        for count in range(groups):
            found = place_group(need.group(product), places, self.ledger)
            if found is None:
                self._take_back(need, taken)
                return count
            for place in found:
                self.ledger.free[place] -= need.gpus
            taken += found
        self._take_back(need, taken)
        return groups

    def _take_back(self, need: Need, places: Iterable[int]) -> None:
        for place in places:
            self.ledger.free[place] += need.gpus

    def _place_one(self, draft: _Draft, group: int) -> None:
        """The whole group, or those of its pods that lost their place, near to the others."""
        need, missing = draft.need, draft.missing(group)
        if not missing or draft.product is None:
            return
        stay = [draft.slots[group, worker] for worker in range(need.pods) if (group, worker) in draft.slots]
        anchors = [place for host in stay if (place := self.ledger.find(host, need.wish.resource)) is not None]
        places = self.eligible.now(need.wish, draft.product)
        if need.apart:
            places = [place for place in places if place not in anchors]
        found = place_group(need.group(draft.product, len(missing)), places, self.ledger, anchors)
        for slot, place in zip(missing, found or (), strict=bool(found)):
            self.ledger.book(place, need.gpus, need.service, need.exclusive)
            draft.slots[slot] = self.nodes[place].host
            draft.proposed.add(slot)

    def _reserve(self, draft: _Draft) -> None:
        """The nodes that lack least for one group are held back, as few as it needs."""
        need = draft.need
        for product in self.eligible.products(need.wish):
            places = self.eligible.now(need.wish, product)
            closest = sorted(places, key=lambda place: (-self.ledger.free[place], self.nodes[place].host))
            per_node = [1 if need.apart else self.nodes[it].gpus // need.gpus for it in closest]
            count, held_back = 0, list[int]()
            for place, slots in zip(closest, per_node, strict=True):
                if count < need.pods and slots and not self.ledger.reserved_for(place):
                    held_back.append(place)
                    count += slots
            if count >= need.pods:
                self.ledger.reserve(held_back, need.service)
                return

    # answers

    def _decisions(self) -> dict[str, Decision]:
        explainer = Explainer(self.ledger, self.eligible)
        line, decisions = 0, dict[str, Decision]()
        for draft in self.drafts:
            waiting = _waits(draft)
            possible = not waiting or self._is_possible(draft.need)
            line += waiting and possible
            decisions[draft.need.service] = self._decision(draft, explainer, possible, line if waiting else 0)
        return decisions

    def _decision(self, draft: _Draft, explainer: Explainer, possible: bool, line: int) -> Decision:
        need = draft.need
        proposed = self._uncertain(draft)
        outcome = self._outcome(draft, possible, proposed)
        kept = self._is_kept(draft, proposed)
        return Decision(
            outcome=outcome,
            product=(draft.product or "") if draft.slots else "",
            slots=dict(sorted(draft.slots.items())),
            proposed=proposed,
            groups=draft.complete(need.target),
            place_in_line=line if outcome is not Outcome.IMPOSSIBLE else 0,
            is_kept=kept,
            message="" if kept else explainer.message(need, outcome, draft.slots, draft.complete(need.target)),
            excluded=() if kept else explainer.excluded(need, draft.slots.values()),
            foreign_unknown=explainer.foreign_unknown,
            breaches=tuple(draft.breaches),
        )

    def _uncertain(self, draft: _Draft) -> frozenset[Slot]:
        """Places that another look must confirm."""
        return frozenset(slot for slot, host in draft.slots.items() if not self._is_certain(draft, slot, host))

    def _is_certain(self, draft: _Draft, slot: Slot, host: str) -> bool:
        """Seen before at this place, and either certain then or not promised to anybody else as well."""
        held = draft.held
        if held is None or not draft.is_known:
            return slot not in draft.proposed and not self._is_overpromised(draft, host)
        if held.slots.get(slot) != host:
            return False
        return slot not in held.proposed or not self._is_overpromised(draft, host)

    def _is_overpromised(self, draft: _Draft, host: str) -> bool:
        place = self.ledger.find(host, draft.need.wish.resource)
        return place is not None and self._promised[place] > self.nodes[place].gpus

    @staticmethod
    def _is_kept(draft: _Draft, proposed: frozenset[Slot]) -> bool:
        """Nothing is new, confirmed just now or waited for: what was said when it was decided still holds."""
        held = draft.held
        if held is None or held.proposed or proposed or held.slots != draft.slots:
            return False
        return draft.is_known and not _waits(draft)

    def _outcome(self, draft: _Draft, possible: bool, proposed: frozenset[Slot]) -> Outcome:
        if not self.nodes:
            return Outcome.UNKNOWN
        if not possible and not draft.slots:
            return Outcome.IMPOSSIBLE
        served = draft.complete(draft.need.least)
        if draft.need.least and not served:
            return Outcome.PENDING
        running = {(pod.group, pod.worker) for pod in draft.need.bound if draft.is_known}
        pending = {slot for slot in proposed - running if slot[0] < draft.need.least}
        return Outcome.PROPOSED if pending else Outcome.BOUND

    @cached_property
    def _empty(self) -> Ledger:
        """The pool if nobody were there; needed only when somebody waits."""
        return Ledger([replace(node, foreign=0) for node in self.nodes])

    def _is_possible(self, need: Need) -> bool:
        """Whether the pool could hold one group if nobody else were there and every node were well."""
        key = (need.wish, need.pods, need.gpus, need.apart, need.exclusive, tuple(sorted(need.islands.items())))
        if key not in self._possible:
            places = (
                (product, self.eligible.ever(need.wish, product)) for product in self.eligible.products(need.wish)
            )
            self._possible[key] = any(place_group(need.group(product), ever, self._empty) for product, ever in places)
        return self._possible[key]


def _seniority(draft: _Draft) -> tuple[bool, str, str, str]:
    """Confirmed decisions first, then the older one, then by uid."""
    held = draft.held
    if held is None:
        return True, "", "", draft.need.service
    return bool(held.proposed), held.created, held.uid, draft.need.service


def _waits(draft: _Draft) -> bool:
    return draft.complete(draft.need.least) < draft.need.least
