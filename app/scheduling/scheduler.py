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

A tenant whose services hold what its quota allows gets no new places; what it has stays. Places of pods that do not
come are given back, and are granted again once the pods exist; see app/gpupool/arrivals.py.

The work of one call is bounded by the nodes that it looks at (MOST_LOOKS) and by how often it packs anew. When it ends
before everybody was tried, what was found stands, the others keep what they have, and the next look resumes with the
first that was not tried.

Services that read what one host at a time can have go to one host: that of those that run, else that of the first that
found a place. A place elsewhere in which nothing runs is given up.

A group is whole or has nothing, unless a pod of it runs.

Two looks: a place that is chosen now, or that a pod took by itself, is *proposed*. It becomes certain when a later call
sees it among the earlier decisions, and sees no contradiction among all of them about that node. So two decisions that
were made without sight of each other never both count, and at no moment is a GPU promised twice.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.scheduling.assignment import Draft
from app.scheduling.conflicts import Promises
from app.scheduling.explain import Explainer
from app.scheduling.feasibility import Capability
from app.scheduling.nodes import Eligibility, Node
from app.scheduling.placer import Filler
from app.scheduling.repacking import may_repack, repack
from app.scheduling.request import BoundPod, Decision, Held, Need, Outcome, Slot
from app.scheduling.reservation import Reserver
from app.scheduling.snapshot import Ledger

MOST_LOOKS = 16_000_000
"""Nodes looked at in one call: one to two seconds of a core."""
MOST_REPACKS = 16
"""Failed tries in one call to find places by packing anew, or at the cost of others."""


MOST_HOPELESS = 128
"""Needs that are remembered as hopeless: each is compared with every other that waits."""


@dataclass(frozen=True)
class Look:
    """What one call decided."""

    decisions: dict[str, Decision]
    """For every need, by service."""
    resume: str = ""
    """The service with which the next look begins; "" = everybody was tried."""
    used: Mapping[str, int] = field(default_factory=dict)
    """GPUs by tenant that count towards its quota."""


def allocate(
    nodes: Sequence[Node], needs: Iterable[Need], held: Mapping[str, Held], reserve_after: float
) -> dict[str, Decision]:
    """A decision for every need, by service. The order of nodes and needs does not matter."""
    return look(nodes, needs, held, reserve_after).decisions


def look(
    nodes: Sequence[Node],
    needs: Iterable[Need],
    held: Mapping[str, Held],
    reserve_after: float,
    *,
    resume: str = "",
    elsewhere: Mapping[str, int] | None = None,
    most_looks: int = MOST_LOOKS,
) -> Look:
    """One look at the pool. `elsewhere` are GPUs by tenant that its services of other pools hold on these nodes."""
    ordered = sorted(nodes, key=lambda node: (node.host, node.resource))
    allocation = _Allocation(ordered, needs, held, most_looks)
    for tenant, gpus in (elsewhere or {}).items():
        allocation.ledger.use(tenant, gpus)
    return allocation.run(reserve_after, resume)


class _Allocation:
    def __init__(self, nodes: Sequence[Node], needs: Iterable[Need], held: Mapping[str, Held], most_looks: int) -> None:
        self.nodes = nodes
        self.ledger = Ledger(nodes)
        self.eligible = Eligibility(nodes)
        self._capability = Capability(nodes, self.eligible)
        in_line = sorted(needs, key=lambda need: (need.last, -need.priority, need.created, need.service))
        self.drafts = [Draft(need, held.get(need.service)) for need in in_line]
        self._filler = Filler(self.ledger, self.eligible, most_looks, self.drafts)
        self._reserver = Reserver(self.ledger, self.eligible, self._filler.quota)
        self._by_age = sorted(self.drafts, key=lambda draft: draft.seniority)
        self._generous = [draft for draft in self._by_age if draft.beyond]
        self._promises = Promises(self.ledger, held)
        self._hopeless: list[Need] = []
        """Needs of which not one group found a place; as long as no node has more free GPUs, none will that asks for as
        much or more."""
        self._failed = 0
        self._fresh: list[Draft] = []
        """New in this call, and placed."""
        self._alive = {(node.host, node.resource) for node in nodes if not node.is_gone}

    def run(self, reserve_after: float, resume: str) -> Look:
        for draft in self.drafts:
            self._book_running(draft)
        for draft in self._by_age:
            self._keep(draft, draft.guaranteed)
        for draft in self._by_age:
            self._keep_beyond(draft)
        start = self._find(resume)
        for draft in self.drafts[start:] + self.drafts[:start]:
            self._place_guaranteed(draft)
            if draft.need.waited >= reserve_after and draft.waits and not self._is_over_quota(draft):
                self._reserve(draft)
        for draft in self._by_age:
            if not draft.gave_way:
                self._keep(draft, draft.beyond)
        for draft in self.drafts:
            self._filler.place(draft, draft.beyond)
        for draft in self.drafts[:start]:
            draft.unseen = False
        unseen = (draft.need.service for draft in self.drafts[start:] if draft.unseen)
        return Look(self._decisions(), next(unseen, ""), self.ledger.used)

    def _find(self, resume: str) -> int:
        """Where in the line the last look ended. Those before were tried then, with what is free now or more."""
        return next((it for it, draft in enumerate(self.drafts) if draft.need.service == resume), 0)

    # 1. what runs

    def _book_running(self, draft: Draft) -> None:
        """Pods of an earlier request are booked, but are no part of the decision; GPUs of a node that is gone are
        given up."""
        need = draft.need
        for pod in need.bound:
            place = self._place_of(draft, pod)
            if place is None:
                self.ledger.use(need.tenant, pod.gpus)
            else:
                self.ledger.book(
                    place, pod.gpus, need.service, draft.was_exclusive and self._is_granted(draft, pod.host)
                )
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
        homes = self._filler.sharing.homes(draft.need)
        wanted = (slot for slot in sorted(held.slots) if slot[0] in groups and slot[1] < need.pods)
        with self._filler.lending(draft):
            for slot in wanted:
                if self._is_given_back(draft, slot):
                    continue
                place = self.ledger.find(held.slots[slot], need.wish.resource)
                if slot not in draft.slots and place is not None and self._is_still_there(draft, place, homes):
                    self._filler.book(draft, slot, place)

    @staticmethod
    def _is_given_back(draft: Draft, slot: Slot) -> bool:
        """Its pod has not come in time."""
        overdue = draft.need.overdue and slot not in draft.need.arrived and slot not in draft.slots
        if overdue:
            draft.given_back.add(slot)
        return overdue

    def _keep_beyond(self, draft: Draft) -> None:
        """Beyond the guarantee whole groups only; those of an earlier request wait until all guarantees are placed."""
        if draft.is_known:
            self._keep(draft, draft.beyond)
            self._filler.drop_torn(draft, draft.beyond)

    def _keep_former(self, draft: Draft, held: Held, groups: range) -> None:
        """GPUs of the earlier request in which no pod runs at the moment."""
        running = {(pod.group, pod.worker) for pod in draft.need.bound}
        for slot in sorted(held.slots.keys() - running):
            if slot[0] in groups and self._is_given_back(draft, slot):
                continue
            place = self.ledger.find(held.slots[slot], held.resource or draft.need.wish.resource)
            if slot[0] in groups and place is not None and self.ledger.free[place] >= held.gpus:
                self.ledger.book(place, held.gpus, draft.need.service, draft.was_exclusive)
                self._remember(draft, place, held.gpus)

    def _is_still_there(self, draft: Draft, place: int, homes: Container[str]) -> bool:
        """For an exclusive service its own host stays its own, also when foreign pods have come since. Where others
        have what it shares on another host, its pod could never start here."""
        need, node = draft.need, self.nodes[place]
        open_to_us = self.ledger.owner(place) in ("", need.service)
        alone = not need.exclusive or set(self.ledger.guests(place)) <= {need.service}
        alive = (node.host, node.resource) in self._alive
        at_home = not homes or node.host in homes
        return at_home and alive and open_to_us and alone and self.ledger.free[place] >= need.gpus

    # 3. and 4. what is new

    def _place_guaranteed(self, draft: Draft) -> None:
        """Where it fits; else by packing anew what is new; else at the cost of what is held beyond the guarantees."""
        if not draft.waits:
            return
        if self._filler.is_spent:
            draft.unseen = True
            return
        bare = not draft.slots and not draft.former
        if bare and any(draft.need.is_at_least(it) for it in self._hopeless):
            return
        free = self.ledger.free.copy() if self._hopeless else []
        self._filler.place(draft, draft.guaranteed)
        if draft.waits and not draft.unseen and not self._is_over_quota(draft):
            self._place_at_cost(draft)
        if any(now > before for now, before in zip(self.ledger.free, free, strict=False)):
            self._hopeless.clear()
        if not draft.waits and draft.is_fresh:
            self._fresh.append(draft)
        if draft.waits and not draft.slots and not draft.former and not draft.unseen and self._is_tried(draft):
            asking_less = [it for it in self._hopeless if not it.is_at_least(draft.need)]
            self._hopeless = [*asking_less[-MOST_HOPELESS:], draft.need]

    def _is_tried(self, draft: Draft) -> bool:
        """Neither its own quota nor what it shares stood in its way, so others would fare no better."""
        return not draft.need.shared and self._filler.quota.reaches_everywhere(draft.need)

    def _is_over_quota(self, draft: Draft) -> bool:
        """Whether the groups that are missing lack quota, whatever is free."""
        if draft.need.quota is None:
            return False
        missing = next((len(slots) for group in draft.guaranteed if (slots := draft.missing(group))), 0)
        return missing > 0 and self._filler.lacks_quota(draft, missing)

    def _reserve(self, draft: Draft) -> None:
        with self._filler.lending(draft):
            self._reserver.reserve(draft.need, lambda product: self._filler.allowed(draft, product))

    def _place_at_cost(self, draft: Draft) -> None:
        """Tries that failed are counted: each costs as much as many placements."""
        if self._failed >= MOST_REPACKS:
            return
        tried = False
        if may_repack(self._filler, self._fresh, draft):
            if repack(self._filler, self._fresh, draft):
                return
            tried = True
        tried |= self._place_instead(draft)
        self._failed += tried and draft.waits

    def _place_instead(self, draft: Draft) -> bool:
        """What is not needed of what gave way is booked again; whether anything gave way."""
        yielding = [other for other in self._generous if self._yields(other)]
        if yielding:
            had = len(draft.slots)
            self._filler.place(draft, draft.guaranteed)
            for other in yielding:
                self._keep_beyond(other)
                if len(draft.slots) > had and self._filler.quota.room(other.need) < 0:
                    other.gave_way = self._yields(other)  # both are past the quota of their tenant
        return bool(yielding)

    def _yields(self, draft: Draft) -> bool:
        """Gives up what it holds beyond its guarantee and does not use yet; whether that is anything."""
        held = [slot for slot in draft.slots if slot[0] in draft.beyond and slot not in draft.running]
        if held:
            self._filler.give_up(draft, held)
        return bool(held)

    # answers

    def _decisions(self) -> dict[str, Decision]:
        explainer = Explainer(self.ledger, self.eligible)
        line, decisions = 0, dict[str, Decision]()
        for draft in self.drafts:
            waiting = draft.waits and not self._is_over_quota(draft)
            possible = not draft.waits or self._capability.is_possible(draft.need)
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
            message="" if kept else self._message(draft, explainer, outcome),
            excluded=() if kept else explainer.excluded(need, draft.slots.values(), ever=outcome is Outcome.IMPOSSIBLE),
            foreign_unknown=explainer.foreign_unknown,
            breaches=tuple(draft.breaches),
            beside=self._beside(draft),
            lacks_quota=self._lacks_quota(draft, outcome),
            given_back=len(draft.given_back),
        )

    def _message(self, draft: Draft, explainer: Explainer, outcome: Outcome) -> str:
        need, groups = draft.need, draft.complete(draft.need.target)
        if self._lacks_quota(draft, outcome):
            return explainer.over_quota(need, draft.slots, groups, self.ledger.used.get(need.tenant, 0))
        if draft.unseen:
            return explainer.unseen(need, draft.slots, groups)
        return explainer.message(need, outcome, draft.slots, groups, waits=draft.waits or not draft.withheld)

    def _beside(self, draft: Draft) -> tuple[str, str] | None:
        if not draft.need.shared or not draft.waits:
            return None
        found = sorted((service, host) for host, service in self._filler.sharing.homes(draft.need).items())
        return next(iter(found), None)

    def _lacks_quota(self, draft: Draft, outcome: Outcome) -> bool:
        return draft.waits and outcome is not Outcome.IMPOSSIBLE and self._is_over_quota(draft)

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
        if held is None or held.proposed or proposed or held.waits or held.slots != draft.slots:
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
