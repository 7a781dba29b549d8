"""One pool, all its services: who gets which GPUs.

Order of the ledger, each step on what the earlier ones left:

    1. pods that run, where they run; they are never moved
    2. earlier decisions: guaranteed groups, then those beyond; confirmed ones first, then older ones, then by uid. A
       decision is kept while its digest is the request's own. A pod's place is given up only when its node is gone (or
       not there any more), or when somebody who comes first in this order has the GPUs; then that pod is placed anew,
       and if it finds no place, the whole group is.
    3. guaranteed groups that have no GPUs: by priority, then age, then name; those that are new are packed together.
       What is held beyond the guarantees gives way where nothing else fits. Who does not fit waits, and others may go
       ahead; who has waited `reserve_after` seconds has nodes held back.
       A request that changed gets a new decision. Until that is made its earlier GPUs stay booked; for the service
       itself they count as free, because its old pods go before the new ones come.
    4. groups beyond the guarantee that have no GPUs.

A group is whole or has nothing, unless a pod of it runs.

Two looks: a place that is chosen now, or that a pod took by itself, is *proposed*. It becomes certain when a later call
sees it among the earlier decisions, and sees no contradiction among all of them about that node. So two decisions that
were made without sight of each other never both count, and at no moment is a GPU promised twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain

from app.topology.draft import Draft
from app.topology.explain import Explainer
from app.topology.filling import Filler
from app.topology.ledger import Ledger
from app.topology.nodes import Eligibility, Node
from app.topology.packing import repack
from app.topology.placement import place_group
from app.topology.promises import Promises
from app.topology.request import BoundPod, Decision, Held, Need, Outcome, Slot


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
        self._filler = Filler(self.ledger, self.eligible)
        in_line = sorted(needs, key=lambda need: (-need.priority, need.created, need.service))
        self.drafts = [Draft(need, held.get(need.service)) for need in in_line]
        self._by_age = sorted(self.drafts, key=lambda draft: draft.seniority)
        self._promises = Promises(self.ledger, held)
        self._possible: dict[object, bool] = {}
        self._hopeless: set[object] = set()
        """Wishes for which not one group found a place; as long as no node has more free GPUs, none will."""
        self._fresh: list[Draft] = []
        """New in this call, and placed."""
        self._alive = {(node.host, node.resource) for node in nodes if not node.is_gone}

    def run(self, reserve_after: float) -> dict[str, Decision]:
        for draft in self.drafts:
            self._book_running(draft)
        for draft in self._by_age:
            self._keep(draft, draft.guaranteed)
        for draft in self._by_age:
            self._keep_beyond(draft)
        for draft in self.drafts:
            self._place_guaranteed(draft)
            if draft.need.waited >= reserve_after and draft.waits:
                self._reserve(draft)
        for draft in self._by_age:
            self._keep(draft, draft.beyond)
        for draft in self.drafts:
            self._filler.place(draft, draft.beyond)
        return self._decisions()

    # 1. what runs

    def _book_running(self, draft: Draft) -> None:
        """Pods of an earlier request are booked, but are no part of the decision; GPUs of a node that is gone are
        given up."""
        need = draft.need
        for pod in need.bound:
            place = self._place_of(draft, pod)
            if place is not None:
                self.ledger.book(place, pod.gpus, need.service, need.exclusive and self._is_granted(draft, pod.host))
            if self._is_former(draft, pod):
                self._remember(draft, place, pod.gpus)
            elif pod.group < need.target and pod.worker < need.pods and not self._is_lost(place):
                self._settle(draft, (pod.group, pod.worker), pod.host, place)

    @staticmethod
    def _is_granted(draft: Draft, host: str) -> bool:
        """A host is a service's own where that was decided; a pod that came elsewhere by itself claims nothing. Where
        no decision is known, as after a pool was made again, what runs is believed."""
        return draft.held is None or host in draft.hosts_held

    def _place_of(self, draft: Draft, pod: BoundPod) -> int | None:
        return self.ledger.find(pod.host, pod.resource or draft.need.wish.resource)

    def _is_former(self, draft: Draft, pod: BoundPod) -> bool:
        """A pod of an earlier request: by its size, or on a node that the request as it is now can never use, while its
        new place was decided already."""
        if not draft.is_known:
            return True
        held, place = draft.held, self._place_of(draft, pod)
        if held is None or place is None or held.slots.get((pod.group, pod.worker), pod.host) == pod.host:
            return False
        return bool(draft.need.wish.find_obstacle(self.nodes[place]))

    def _is_lost(self, place: int | None) -> bool:
        return place is not None and self.nodes[place].is_gone

    def _remember(self, draft: Draft, place: int | None, gpus: int) -> None:
        if place is not None:
            draft.former[place] = draft.former.get(place, 0) + gpus

    def _settle(self, draft: Draft, slot: Slot, host: str, place: int | None) -> None:
        draft.slots[slot] = host
        draft.running.add(slot)
        if place is None:
            draft.breaches.append(f"pod {slot[1]} of group {slot[0]} runs on {host}, which is not in this pool")
        elif draft.product is None:
            draft.product = self.nodes[place].product

    # 2. what was decided

    def _keep(self, draft: Draft, groups: range) -> None:
        need, held = draft.need, draft.held
        if held is None:
            return
        if held.digest != draft.need.digest:
            self._keep_former(draft, held, groups)
            return
        draft.product = held.product if draft.product is None else draft.product
        wanted = (slot for slot in sorted(held.slots) if slot[0] in groups and slot[1] < need.pods)
        with self._filler.lending(draft):
            for slot in wanted:
                place = self.ledger.find(held.slots[slot], need.wish.resource)
                if slot not in draft.slots and place is not None and self._is_still_there(draft, place):
                    self._filler.book(draft, slot, place)

    def _keep_beyond(self, draft: Draft) -> None:
        """Beyond the guarantee whole groups only; those of an earlier request wait until all guarantees are placed."""
        if draft.is_known:
            self._keep(draft, draft.beyond)
            self._filler.drop_torn(draft, draft.beyond)

    def _keep_former(self, draft: Draft, held: Held, groups: range) -> None:
        """GPUs of the earlier request in which no pod runs at the moment."""
        running = {(pod.group, pod.worker) for pod in draft.need.bound}
        for slot in sorted(held.slots.keys() - running):
            place = self.ledger.find(held.slots[slot], held.resource or draft.need.wish.resource)
            if slot[0] in groups and place is not None and self.ledger.free[place] >= held.gpus:
                self.ledger.book(place, held.gpus, draft.need.service, draft.need.exclusive)
                self._remember(draft, place, held.gpus)

    def _is_still_there(self, draft: Draft, place: int) -> bool:
        """For an exclusive service its own host stays its own, also when foreign pods have come since."""
        need, node = draft.need, self.nodes[place]
        open_to_us = self.ledger.owner(place) in ("", need.service)
        alone = not need.exclusive or set(self.ledger.guests(place)) <= {need.service}
        alive = (node.host, node.resource) in self._alive
        return alive and open_to_us and alone and self.ledger.free[place] >= need.gpus

    # 3. and 4. what is new

    def _place_guaranteed(self, draft: Draft) -> None:
        """Where it fits; else by packing anew what is new; else at the cost of what is held beyond the guarantees."""
        key = _key(draft.need)
        if key in self._hopeless and not draft.slots and not draft.former:
            return
        free = self.ledger.free.copy() if self._hopeless else []
        self._filler.place(draft, draft.guaranteed)
        if draft.waits and not repack(self._filler, self._fresh, draft):
            self._place_instead(draft)
        if any(now > before for now, before in zip(self.ledger.free, free, strict=False)):
            self._hopeless.clear()
        if not draft.waits and draft.is_fresh:
            self._fresh.append(draft)
        if draft.waits and not draft.slots and not draft.former:
            self._hopeless.add(key)

    def _place_instead(self, draft: Draft) -> None:
        """What is not needed of what gave way is booked again."""
        if yielding := [other for other in self._by_age if self._yields(other)]:
            self._filler.place(draft, draft.guaranteed)
            for other in yielding:
                self._keep_beyond(other)

    def _yields(self, draft: Draft) -> bool:
        """Gives up what it holds beyond its guarantee and does not use yet; whether that is anything."""
        held = [slot for slot in draft.slots if slot[0] in draft.beyond and slot not in draft.running]
        if held:
            self._filler.give_up(draft, held)
        return bool(held)

    def _reserve(self, draft: Draft) -> None:
        """The nodes that lack least for one group are held back, as few as it needs; rather such as others of the pool
        will leave than such as pods of no service hold."""
        need = draft.need
        for counts_foreign in (True, False):
            for product in self.eligible.products(need.wish):
                if found := self._closest(need, product, counts_foreign):
                    self.ledger.reserve(found, need.service)
                    return

    def _closest(self, need: Need, product: str, counts_foreign: bool) -> list[int]:
        """Nodes that would hold one group once services have left them, [] when they do not."""
        places = sorted(
            self.eligible.now(need.wish, product), key=lambda place: (-self.ledger.free[place], self.nodes[place].host)
        )
        count, chosen = 0, list[int]()
        for place in places:
            slots = self._slots_at_most(need, place, counts_foreign)
            if count < need.pods and slots:
                chosen.append(place)
                count += slots
        return chosen if count >= need.pods else []

    def _slots_at_most(self, need: Need, place: int, counts_foreign: bool) -> int:
        """Pods that a node holds when no other service is there."""
        node, foreign = self.nodes[place], self.nodes[place].foreign or 0
        taken = self.ledger.owner(place) not in ("", need.service) or self.ledger.reserved_for(place)
        if taken or need.island(node.product) > (node.island or node.gpus):
            return 0
        if counts_foreign and need.exclusive and foreign:
            return 0
        slots = (node.gpus - foreign * counts_foreign) // need.gpus
        return min(slots, 1) if need.apart else slots

    # answers

    def _decisions(self) -> dict[str, Decision]:
        explainer = Explainer(self.ledger, self.eligible)
        line, decisions = 0, dict[str, Decision]()
        for draft in self.drafts:
            waiting = draft.waits
            possible = not waiting or self._is_possible(draft.need)
            line += waiting and possible
            decisions[draft.need.service] = self._decision(draft, explainer, possible, line if waiting else 0)
        return decisions

    def _decision(self, draft: Draft, explainer: Explainer, possible: bool, line: int) -> Decision:
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

    def _uncertain(self, draft: Draft) -> frozenset[Slot]:
        """Places that another look must confirm."""
        return frozenset(slot for slot, host in draft.slots.items() if not self._is_certain(draft, slot, host))

    def _is_certain(self, draft: Draft, slot: Slot, host: str) -> bool:
        """Seen before at this place, and either certain then or contradicted by nobody."""
        held = draft.held
        if held is None or held.digest != draft.need.digest:
            return slot not in draft.proposed and not self._is_contested(draft, host)
        if held.slots.get(slot) != host:
            return False
        return slot not in held.proposed or not self._is_contested(draft, host)

    def _is_contested(self, draft: Draft, host: str) -> bool:
        place = self.ledger.find(host, draft.need.wish.resource)
        return place is not None and self._promises.are_contested(place)

    @staticmethod
    def _is_kept(draft: Draft, proposed: frozenset[Slot]) -> bool:
        """Nothing is new, confirmed just now or waited for: what was said when it was decided still holds."""
        held = draft.held
        if held is None or held.proposed or proposed or held.slots != draft.slots:
            return False
        return draft.is_known and not draft.waits

    def _outcome(self, draft: Draft, possible: bool, proposed: frozenset[Slot]) -> Outcome:
        if not self.nodes:
            return Outcome.UNKNOWN
        if not possible and not draft.slots:
            return Outcome.IMPOSSIBLE
        served = draft.complete(draft.need.least)
        if draft.need.least and not served:
            return Outcome.PENDING
        running = {(pod.group, pod.worker) for pod in draft.need.bound if not self._is_former(draft, pod)}
        pending = {slot for slot in proposed - running if slot[0] < draft.need.least}
        return Outcome.PROPOSED if pending else Outcome.BOUND

    @cached_property
    def _empty(self) -> Ledger:
        """The pool if nobody were there and nothing ill; needed only when somebody waits."""
        return Ledger([replace(node, foreign=0, gpus=node.at_best) for node in self.nodes])

    def _is_possible(self, need: Need) -> bool:
        """Whether the pool could hold one group if nobody else were there and every node and GPU were well."""
        key = _key(need)
        if key not in self._possible:
            places = (
                (product, self.eligible.ever(need.wish, product)) for product in self.eligible.products(need.wish)
            )
            # unknown is neither zero nor enough: who might fit there waits until the product is known
            unknown = (("", self.eligible.nameless(need.wish)),)
            tried = chain(places, unknown)
            self._possible[key] = any(place_group(need.group(product), ever, self._empty) for product, ever in tried)
        return self._possible[key]


def _key(need: Need) -> object:
    """What is the same for needs that fit in the same places."""
    return need.wish.reach, need.pods, need.gpus, need.apart, need.exclusive, tuple(sorted(need.islands.items()))
