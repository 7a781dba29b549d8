"""One pool, all its services: who gets which GPUs.

Order of bookings, each step on what the earlier ones left:

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

The work of one call is bounded by the nodes that it examines (MOST_EXAMINED) and by how often it packs anew. When it
ends before everybody was tried, what was found stands, the others keep what they have, and the next cycle resumes with
the first that was not tried.

Services that read what one host at a time can have go to one host: that of those that run, else that of the first that
found a place. A place elsewhere in which nothing runs is given up.

A group is whole or has nothing, unless a pod of it runs.

Two cycles: a place that is chosen now, or that a pod took by itself, is *proposed*. It becomes certain when a later
call sees it among the existing allocations, and sees no contradiction among all of them about that node. So two
decisions that were made without sight of each other never both count, and at no moment is a GPU promised twice.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.scheduling.assignment import Assignment
from app.scheduling.conflicts import AllocationConflicts
from app.scheduling.explain import Explainer
from app.scheduling.feasibility import Feasibility
from app.scheduling.nodes import Eligibility, Node
from app.scheduling.placer import GroupPlacer
from app.scheduling.repacking import may_repack, repack
from app.scheduling.request import BoundPod, Decision, ExistingAllocation, Outcome, PlacementRequest, Slot
from app.scheduling.reservation import Reserver
from app.scheduling.snapshot import Snapshot

MOST_EXAMINED = 16_000_000
"""Nodes looked at in one call: one to two seconds of a core."""
MOST_REPACKS = 16
"""Failed tries in one call to find places by packing anew, or at the cost of others."""


MOST_HOPELESS = 128
"""Requests that are remembered as hopeless: each is compared with every other that waits."""


@dataclass(frozen=True)
class Schedule:
    """What one scheduling cycle decided."""

    decisions: dict[str, Decision]
    """For every request, by service."""
    resume: str = ""
    """The service with which the next cycle begins; "" = everybody was tried."""
    used: Mapping[str, int] = field(default_factory=dict)
    """GPUs by tenant that count towards its quota."""


def allocate(
    nodes: Sequence[Node],
    requests: Iterable[PlacementRequest],
    existing: Mapping[str, ExistingAllocation],
    reserve_after: float,
) -> dict[str, Decision]:
    """A decision for every request, by service. The order of nodes and requests does not matter."""
    return schedule(nodes, requests, existing, reserve_after).decisions


def schedule(
    nodes: Sequence[Node],
    requests: Iterable[PlacementRequest],
    existing: Mapping[str, ExistingAllocation],
    reserve_after: float,
    *,
    resume: str = "",
    elsewhere: Mapping[str, int] | None = None,
    most_examined: int = MOST_EXAMINED,
) -> Schedule:
    """One scheduling cycle. `elsewhere` are GPUs by tenant that its services of other pools hold on these nodes."""
    ordered = sorted(nodes, key=lambda node: (node.host, node.resource))
    cycle = _Cycle(ordered, requests, existing, most_examined)
    for tenant, gpus in (elsewhere or {}).items():
        cycle.snapshot.use(tenant, gpus)
    return cycle.run(reserve_after, resume)


class _Cycle:
    def __init__(
        self,
        nodes: Sequence[Node],
        requests: Iterable[PlacementRequest],
        existing: Mapping[str, ExistingAllocation],
        most_examined: int,
    ) -> None:
        self.nodes = nodes
        self.snapshot = Snapshot(nodes)
        self.eligible = Eligibility(nodes)
        self._feasibility = Feasibility(nodes, self.eligible)
        in_line = sorted(
            requests, key=lambda request: (request.last, -request.priority, request.creation_timestamp, request.service)
        )
        self.assignments = [Assignment(request, existing.get(request.service)) for request in in_line]
        self._placer = GroupPlacer(self.snapshot, self.eligible, most_examined, self.assignments)
        self._reserver = Reserver(self.snapshot, self.eligible, self._placer.quota)
        self._by_age = sorted(self.assignments, key=lambda assignment: assignment.seniority)
        self._generous = [assignment for assignment in self._by_age if assignment.burst]
        self._conflicts = AllocationConflicts(self.snapshot, existing)
        self._hopeless: list[PlacementRequest] = []
        """Needs of which not one group found a place; as long as no node has more free GPUs, none will that asks for as
        much or more."""
        self._failed = 0
        self._fresh: list[Assignment] = []
        """New in this call, and placed."""
        self._alive = {(node.host, node.resource) for node in nodes if not node.is_lost}

    def run(self, reserve_after: float, resume: str) -> Schedule:
        for assignment in self.assignments:
            self._book_running(assignment)
        for assignment in self._by_age:
            self._keep(assignment, assignment.guaranteed)
        for assignment in self._by_age:
            self._keep_burst(assignment)
        start = self._find(resume)
        for assignment in self.assignments[start:] + self.assignments[:start]:
            self._place_guaranteed(assignment)
            if (
                assignment.request.waiting_seconds >= reserve_after
                and assignment.waits
                and not self._is_over_quota(assignment)
            ):
                self._reserve(assignment)
        for assignment in self._by_age:
            if not assignment.gave_way:
                self._keep(assignment, assignment.burst)
        for assignment in self.assignments:
            self._placer.place(assignment, assignment.burst)
        for assignment in self.assignments[:start]:
            assignment.untried = False
        untried = (assignment.request.service for assignment in self.assignments[start:] if assignment.untried)
        return Schedule(self._decisions(), next(untried, ""), self.snapshot.used)

    def _find(self, resume: str) -> int:
        """Where in the line the last cycle ended. Those before were tried then, with what is free now or more."""
        return next((it for it, assignment in enumerate(self.assignments) if assignment.request.service == resume), 0)

    # 1. what runs

    def _book_running(self, assignment: Assignment) -> None:
        """Pods of an earlier request are booked, but are no part of the decision; GPUs of a node that is gone are
        given up."""
        request = assignment.request
        for pod in request.bound_pods:
            place = self._place_of(assignment, pod)
            if place is None:
                self.snapshot.use(request.tenant, pod.gpus)
            else:
                self.snapshot.book(
                    place,
                    pod.gpus,
                    request.service,
                    assignment.was_exclusive and self._is_granted(assignment, pod.host),
                )
            if self._is_of_earlier_request(assignment, pod):
                self._remember(assignment, place, pod.gpus)
            elif pod.group < request.target and pod.worker < request.nodes and not self._is_lost(place):
                self._settle(assignment, (pod.group, pod.worker), pod.host, place)

    @staticmethod
    def _is_granted(assignment: Assignment, host: str) -> bool:
        """A host is a service's own where that was decided; a pod that came elsewhere by itself claims nothing. Where
        no decision is known, as after a pool was made again, what runs is believed."""
        return assignment.existing is None or host in assignment.existing_hosts

    def _place_of(self, assignment: Assignment, pod: BoundPod) -> int | None:
        return self.snapshot.find(pod.host, pod.resource or assignment.request.requirements.resource)

    def _is_of_earlier_request(self, assignment: Assignment, pod: BoundPod) -> bool:
        """A pod of an earlier request: by its size, or on a node that the request as it is now can never use, while its
        new place was decided already."""
        if not assignment.is_known:
            return True
        existing, place = assignment.existing, self._place_of(assignment, pod)
        if existing is None or place is None or existing.hosts.get((pod.group, pod.worker), pod.host) == pod.host:
            return False
        return bool(assignment.request.requirements.permanent_mismatch(self.nodes[place]))

    def _is_lost(self, place: int | None) -> bool:
        return place is not None and self.nodes[place].is_lost

    def _remember(self, assignment: Assignment, place: int | None, gpus: int) -> None:
        if place is not None:
            assignment.previous_usage[place] = assignment.previous_usage.get(place, 0) + gpus

    def _settle(self, assignment: Assignment, slot: Slot, host: str, place: int | None) -> None:
        assignment.hosts[slot] = host
        assignment.running.add(slot)
        if place is None:
            assignment.breaches.append(f"pod {slot[1]} of group {slot[0]} runs on {host}, which is not in this pool")
        elif assignment.product is None:
            assignment.product = self.nodes[place].product

    # 2. what was decided

    def _keep(self, assignment: Assignment, groups: range) -> None:
        request, existing = assignment.request, assignment.existing
        if existing is None:
            return
        if existing.digest != assignment.request.digest:
            self._keep_previous(assignment, existing, groups)
            return
        assignment.product = existing.product if assignment.product is None else assignment.product
        homes = self._placer.colocation.homes(assignment.request)
        wanted = (slot for slot in sorted(existing.hosts) if slot[0] in groups and slot[1] < request.nodes)
        with self._placer.reusing_previous_usage(assignment):
            for slot in wanted:
                if self._is_given_back(assignment, slot):
                    continue
                place = self.snapshot.find(existing.hosts[slot], request.requirements.resource)
                if (
                    slot not in assignment.hosts
                    and place is not None
                    and self._is_still_there(assignment, place, homes)
                ):
                    self._placer.book(assignment, slot, place)

    @staticmethod
    def _is_given_back(assignment: Assignment, slot: Slot) -> bool:
        """Its pod has not come in time."""
        overdue = assignment.request.overdue and slot not in assignment.request.arrived and slot not in assignment.hosts
        if overdue:
            assignment.given_back.add(slot)
        return overdue

    def _keep_burst(self, assignment: Assignment) -> None:
        """Beyond the guarantee whole groups only; those of an earlier request wait until all guarantees are placed."""
        if assignment.is_known:
            self._keep(assignment, assignment.burst)
            self._placer.drop_partially_placed(assignment, assignment.burst)

    def _keep_previous(self, assignment: Assignment, existing: ExistingAllocation, groups: range) -> None:
        """GPUs of the earlier request in which no pod runs at the moment."""
        running = {(pod.group, pod.worker) for pod in assignment.request.bound_pods}
        for slot in sorted(existing.hosts.keys() - running):
            if slot[0] in groups and self._is_given_back(assignment, slot):
                continue
            place = self.snapshot.find(
                existing.hosts[slot], existing.resource or assignment.request.requirements.resource
            )
            if slot[0] in groups and place is not None and self.snapshot.free[place] >= existing.gpus_per_node:
                self.snapshot.book(place, existing.gpus_per_node, assignment.request.service, assignment.was_exclusive)
                self._remember(assignment, place, existing.gpus_per_node)

    def _is_still_there(self, assignment: Assignment, place: int, homes: Container[str]) -> bool:
        """For an exclusive service its own host stays its own, also when foreign pods have come since. Where others
        have what it shares on another host, its pod could never start here."""
        request, node = assignment.request, self.nodes[place]
        open_to_us = self.snapshot.exclusive_holder(place) in ("", request.service)
        alone = not request.exclusive or set(self.snapshot.usage_by_service(place)) <= {request.service}
        alive = (node.host, node.resource) in self._alive
        at_home = not homes or node.host in homes
        return at_home and alive and open_to_us and alone and self.snapshot.free[place] >= request.gpus_per_node

    # 3. and 4. what is new

    def _place_guaranteed(self, assignment: Assignment) -> None:
        """Where it fits; else by packing anew what is new; else at the cost of what is held beyond the guarantees."""
        if not assignment.waits:
            return
        if self._placer.is_spent:
            assignment.untried = True
            return
        bare = not assignment.hosts and not assignment.previous_usage
        if bare and any(assignment.request.is_at_least(it) for it in self._hopeless):
            return
        free = self.snapshot.free.copy() if self._hopeless else []
        self._placer.place(assignment, assignment.guaranteed)
        if assignment.waits and not assignment.untried and not self._is_over_quota(assignment):
            self._place_at_cost(assignment)
        if any(now > before for now, before in zip(self.snapshot.free, free, strict=False)):
            self._hopeless.clear()
        if not assignment.waits and assignment.is_new:
            self._fresh.append(assignment)
        if (
            assignment.waits
            and not assignment.hosts
            and not assignment.previous_usage
            and not assignment.untried
            and self._is_tried(assignment)
        ):
            asking_less = [it for it in self._hopeless if not it.is_at_least(assignment.request)]
            self._hopeless = [*asking_less[-MOST_HOPELESS:], assignment.request]

    def _is_tried(self, assignment: Assignment) -> bool:
        """Neither its own quota nor what it shares stood in its way, so others would fare no better."""
        return not assignment.request.claim and self._placer.quota.reaches_everywhere(assignment.request)

    def _is_over_quota(self, assignment: Assignment) -> bool:
        """Whether the groups that are missing lack quota, whatever is free."""
        if assignment.request.quota is None:
            return False
        missing = next((len(slots) for group in assignment.guaranteed if (slots := assignment.missing(group))), 0)
        return missing > 0 and self._placer.lacks_quota(assignment, missing)

    def _reserve(self, assignment: Assignment) -> None:
        with self._placer.reusing_previous_usage(assignment):
            self._reserver.reserve(assignment.request, lambda product: self._placer.allowed(assignment, product))

    def _place_at_cost(self, assignment: Assignment) -> None:
        """Tries that failed are counted: each costs as much as many placements."""
        if self._failed >= MOST_REPACKS:
            return
        tried = False
        if may_repack(self._placer, self._fresh, assignment):
            if repack(self._placer, self._fresh, assignment):
                return
            tried = True
        tried |= self._place_instead(assignment)
        self._failed += tried and assignment.waits

    def _place_instead(self, assignment: Assignment) -> bool:
        """What is not needed of what gave way is booked again; whether anything gave way."""
        yielding = [other for other in self._generous if self._yields(other)]
        if yielding:
            had = len(assignment.hosts)
            self._placer.place(assignment, assignment.guaranteed)
            for other in yielding:
                self._keep_burst(other)
                if len(assignment.hosts) > had and self._placer.quota.room(other.request) < 0:
                    other.gave_way = self._yields(other)  # both are past the quota of their tenant
        return bool(yielding)

    def _yields(self, assignment: Assignment) -> bool:
        """Gives up what it holds beyond its guarantee and does not use yet; whether that is anything."""
        existing = [slot for slot in assignment.hosts if slot[0] in assignment.burst and slot not in assignment.running]
        if existing:
            self._placer.give_up(assignment, existing)
        return bool(existing)

    # answers

    def _decisions(self) -> dict[str, Decision]:
        explainer = Explainer(self.snapshot, self.eligible)
        line, decisions = 0, dict[str, Decision]()
        for assignment in self.assignments:
            waiting = assignment.waits and not self._is_over_quota(assignment)
            possible = not assignment.waits or self._feasibility.is_possible(assignment.request)
            line += waiting and possible
            decisions[assignment.request.service] = self._decision(
                assignment, explainer, possible, line if waiting else 0
            )
        return decisions

    def _decision(self, assignment: Assignment, explainer: Explainer, possible: bool, line: int) -> Decision:
        request = assignment.request
        proposed = self._uncertain(assignment)
        outcome = self._outcome(assignment, possible, proposed)
        kept = self._is_kept(assignment, proposed)
        return Decision(
            outcome=outcome,
            product=(assignment.product or "") if assignment.hosts else "",
            hosts=dict(sorted(assignment.hosts.items())),
            proposed=proposed,
            groups=assignment.complete(request.target),
            place_in_line=line if outcome is not Outcome.IMPOSSIBLE else 0,
            is_kept=kept,
            message="" if kept else self._message(assignment, explainer, outcome),
            excluded=()
            if kept
            else explainer.excluded(request, assignment.hosts.values(), ever=outcome is Outcome.IMPOSSIBLE),
            foreign_use_unknown=explainer.foreign_use_unknown,
            breaches=tuple(assignment.breaches),
            beside=self._beside(assignment),
            lacks_quota=self._lacks_quota(assignment, outcome),
            given_back=len(assignment.given_back),
        )

    def _message(self, assignment: Assignment, explainer: Explainer, outcome: Outcome) -> str:
        request, groups = assignment.request, assignment.complete(assignment.request.target)
        if self._lacks_quota(assignment, outcome):
            return explainer.over_quota(request, assignment.hosts, groups, self.snapshot.used.get(request.tenant, 0))
        if assignment.untried:
            return explainer.untried(request, assignment.hosts, groups)
        return explainer.message(
            request, outcome, assignment.hosts, groups, waits=assignment.waits or not assignment.withheld
        )

    def _beside(self, assignment: Assignment) -> tuple[str, str] | None:
        if not assignment.request.claim or not assignment.waits:
            return None
        found = sorted((service, host) for host, service in self._placer.colocation.homes(assignment.request).items())
        return next(iter(found), None)

    def _lacks_quota(self, assignment: Assignment, outcome: Outcome) -> bool:
        return assignment.waits and outcome is not Outcome.IMPOSSIBLE and self._is_over_quota(assignment)

    def _uncertain(self, assignment: Assignment) -> frozenset[Slot]:
        """Places that another cycle must confirm."""
        return frozenset(
            slot for slot, host in assignment.hosts.items() if not self._is_certain(assignment, slot, host)
        )

    def _is_certain(self, assignment: Assignment, slot: Slot, host: str) -> bool:
        """Seen before at this place, and either certain then or contradicted by nobody."""
        existing = assignment.existing
        if existing is None or existing.digest != assignment.request.digest:
            return slot not in assignment.proposed and not self._is_double_booked(assignment, host)
        if existing.hosts.get(slot) != host:
            return False
        return slot not in existing.proposed or not self._is_double_booked(assignment, host)

    def _is_double_booked(self, assignment: Assignment, host: str) -> bool:
        place = self.snapshot.find(host, assignment.request.requirements.resource)
        return place is not None and self._conflicts.is_double_booked(place)

    @staticmethod
    def _is_kept(assignment: Assignment, proposed: frozenset[Slot]) -> bool:
        """Nothing is new, confirmed just now or waited for: what was said when it was decided still holds."""
        existing = assignment.existing
        if (
            existing is None
            or existing.proposed
            or proposed
            or existing.is_waiting
            or existing.hosts != assignment.hosts
        ):
            return False
        return assignment.is_known and not assignment.waits

    def _outcome(self, assignment: Assignment, possible: bool, proposed: frozenset[Slot]) -> Outcome:
        if not self.nodes:
            return Outcome.UNKNOWN
        if not possible and not assignment.hosts:
            return Outcome.IMPOSSIBLE
        served = assignment.complete(assignment.request.min_replicas)
        if assignment.request.min_replicas and not served:
            return Outcome.PENDING
        running = {
            (pod.group, pod.worker)
            for pod in assignment.request.bound_pods
            if not self._is_of_earlier_request(assignment, pod)
        }
        pending = {slot for slot in proposed - running if slot[0] < assignment.request.min_replicas}
        return Outcome.PROPOSED if pending else Outcome.BOUND
