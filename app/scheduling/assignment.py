"""One service's decision in the making."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from app.scheduling.request import ExistingAllocation, PlacementRequest, Slot


@dataclass
class Assignment:
    """The request, the existing allocation, and the hosts found so far."""

    request: PlacementRequest
    existing: ExistingAllocation | None
    product: str | None = None
    """None = not chosen yet; "" is the product that nobody knows."""
    hosts: dict[Slot, str] = field(default_factory=dict)
    proposed: set[Slot] = field(default_factory=set)
    running: set[Slot] = field(default_factory=set)
    """Those of `hosts` in which a pod runs: they are never given up."""
    previous_usage: dict[int, int] = field(default_factory=dict)
    """GPUs by node that were booked for an earlier request of this service."""
    breaches: list[str] = field(default_factory=list)
    given_back: set[Slot] = field(default_factory=set)
    """Pods whose GPUs are given back now, because they do not exist."""
    gave_way: bool = False
    """Its groups beyond the guarantee are given up for good: the quota is needed for another service's guarantee."""
    untried: bool = False
    """The work of this cycle ended before all its groups were tried."""

    @cached_property
    def is_known(self) -> bool:
        """Whether the existing allocation and what runs are of the request as it is now."""
        resources = ("", self.request.requirements.resource)
        same_size = all(
            pod.gpus == self.request.gpus_per_node and pod.resource in resources for pod in self.request.bound_pods
        )
        return same_size and (self.existing is None or self.existing.digest == self.request.digest)

    @cached_property
    def was_exclusive(self) -> bool:
        """Whether the hosts where it has GPUs are its own: what it asks for anew is not so before that is granted."""
        existing = self.existing
        return (
            self.request.exclusive if existing is None or existing.digest == self.request.digest else existing.exclusive
        )

    @cached_property
    def existing_hosts(self) -> frozenset[str]:
        return frozenset(self.existing.hosts.values()) if self.existing else frozenset()

    @property
    def is_new(self) -> bool:
        """There is no existing allocation, nothing runs: nobody has been told of any place yet."""
        return self.existing is None and not self.request.bound_pods

    @property
    def waits(self) -> bool:
        return self.lacks(self.guaranteed)

    def lacks(self, groups: range) -> bool:
        """Whether a pod of these groups is to get a place yet."""
        if not self.hosts and not self.withheld:
            return len(groups) > 0
        return any(self.missing(group) for group in groups)

    @property
    def guaranteed(self) -> range:
        return range(self.request.min_replicas)

    @property
    def burst(self) -> range:
        """Groups that exist beyond the guarantee."""
        return range(self.request.min_replicas, self.request.target)

    @property
    def seniority(self) -> tuple[bool, str, str, str]:
        """Confirmed decisions first, then the older one, then by uid."""
        existing = self.existing
        if existing is None:
            return True, "", "", self.request.service
        return bool(existing.proposed), existing.creation_timestamp, existing.uid, self.request.service

    @property
    def withheld(self) -> bool:
        return self.request.withheld or bool(self.given_back)

    def missing(self, group: int) -> list[Slot]:
        """Pods that are to get a place. After GPUs were given back it is pods that exist: of a group that does not run,
        all of them or none."""
        slots = ((group, worker) for worker in range(self.request.nodes))
        missing = [slot for slot in slots if slot not in self.hosts]
        if not missing or not self.withheld:
            return missing
        arrived = [slot for slot in missing if slot in self.request.arrived]
        runs = any(slot in self.running for slot in self.placed(group))
        return arrived if runs or len(arrived) == len(missing) else []

    def placed(self, group: int) -> list[Slot]:
        return [(group, worker) for worker in range(self.request.nodes) if (group, worker) in self.hosts]

    def complete(self, groups: int) -> int:
        """Groups below this number whose pods all have a place."""
        pods = Counter(group for group, worker in self.hosts if group < groups and worker < self.request.nodes)
        return sum(count == self.request.nodes for count in pods.values())

    def is_partially_placed(self, group: int) -> bool:
        """Some pods have a place, others none, and none runs: whoever needs the GPUs may as well have them."""
        placed = self.placed(group)
        return 0 < len(placed) < self.request.nodes and self.running.isdisjoint(placed)
