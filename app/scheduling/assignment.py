"""One service's decision in the making."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from app.scheduling.request import Held, Need, Slot


@dataclass
class Draft:
    """What is asked, what was held, and the places found so far."""

    need: Need
    held: Held | None
    product: str | None = None
    """None = not chosen yet; "" is the product that nobody knows."""
    slots: dict[Slot, str] = field(default_factory=dict)
    proposed: set[Slot] = field(default_factory=set)
    running: set[Slot] = field(default_factory=set)
    """Those of `slots` in which a pod runs: they are never given up."""
    former: dict[int, int] = field(default_factory=dict)
    """GPUs by node that were booked for an earlier request of this service."""
    breaches: list[str] = field(default_factory=list)
    given_back: set[Slot] = field(default_factory=set)
    """Pods whose GPUs are given back now, because they do not exist."""
    gave_way: bool = False
    """Its groups beyond the guarantee are given up for good: the quota is needed for another service's guarantee."""
    unseen: bool = False
    """The work of this look ended before all its groups were tried."""

    @cached_property
    def is_known(self) -> bool:
        """Whether what is held and what runs is of the request as it is now."""
        resources = ("", self.need.wish.resource)
        same_size = all(pod.gpus == self.need.gpus and pod.resource in resources for pod in self.need.bound)
        return same_size and (self.held is None or self.held.digest == self.need.digest)

    @cached_property
    def was_exclusive(self) -> bool:
        """Whether the hosts where it has GPUs are its own: what it asks for anew is not so before that is granted."""
        held = self.held
        return self.need.exclusive if held is None or held.digest == self.need.digest else held.exclusive

    @cached_property
    def hosts_held(self) -> frozenset[str]:
        return frozenset(self.held.slots.values()) if self.held else frozenset()

    @property
    def is_fresh(self) -> bool:
        """Nothing was held, nothing runs: nobody has been told of any place yet."""
        return self.held is None and not self.need.bound

    @property
    def waits(self) -> bool:
        return self.lacks(self.guaranteed)

    def lacks(self, groups: range) -> bool:
        """Whether a pod of these groups is to get a place yet."""
        if not self.slots and not self.withheld:
            return len(groups) > 0
        return any(self.missing(group) for group in groups)

    @property
    def guaranteed(self) -> range:
        return range(self.need.least)

    @property
    def beyond(self) -> range:
        """Groups that exist beyond the guarantee."""
        return range(self.need.least, self.need.target)

    @property
    def seniority(self) -> tuple[bool, str, str, str]:
        """Confirmed decisions first, then the older one, then by uid."""
        held = self.held
        if held is None:
            return True, "", "", self.need.service
        return bool(held.proposed), held.created, held.uid, self.need.service

    @property
    def withheld(self) -> bool:
        return self.need.withheld or bool(self.given_back)

    def missing(self, group: int) -> list[Slot]:
        """Pods that are to get a place. After GPUs were given back it is pods that exist: of a group that does not run,
        all of them or none."""
        slots = ((group, worker) for worker in range(self.need.pods))
        missing = [slot for slot in slots if slot not in self.slots]
        if not missing or not self.withheld:
            return missing
        arrived = [slot for slot in missing if slot in self.need.arrived]
        runs = any(slot in self.running for slot in self.placed(group))
        return arrived if runs or len(arrived) == len(missing) else []

    def placed(self, group: int) -> list[Slot]:
        return [(group, worker) for worker in range(self.need.pods) if (group, worker) in self.slots]

    def complete(self, groups: int) -> int:
        """Groups below this number whose pods all have a place."""
        pods = Counter(group for group, worker in self.slots if group < groups and worker < self.need.pods)
        return sum(count == self.need.pods for count in pods.values())

    def is_torn(self, group: int) -> bool:
        """Some pods have a place, others none, and none runs: whoever needs the GPUs may as well have them."""
        placed = self.placed(group)
        return 0 < len(placed) < self.need.pods and self.running.isdisjoint(placed)
