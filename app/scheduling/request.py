"""What services ask of a pool, what was decided before, and what is decided now: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from app.scheduling.nodes import Wish
from app.scheduling.placement import Group
from app.scheduling.snapshot import tenant_of

Slot = tuple[int, int]
"""Index of a group, and of a pod in it; (0, 0) is the first leader."""


@dataclass(frozen=True)
class BoundPod:
    """A pod that has a node already."""

    group: int
    worker: int
    host: str
    gpus: int
    resource: str = ""
    """Under which name it holds them; "" = as the request says."""


@dataclass(frozen=True)
class Need:
    """One service's request. Groups between `least` and `most` are placed once they exist (`wanted`)."""

    service: str
    """Unique in the pool: namespace/name."""
    digest: str
    wish: Wish
    pods: int
    """Pods of one group."""
    gpus: int
    """GPUs of each pod."""
    least: int = 1
    """Groups that are guaranteed."""
    most: int = 1
    wanted: int = 0
    priority: int = 0
    created: str = ""
    """RFC 3339, so that text order is time order."""
    waited: float = 0.0
    """Seconds since it began to wait for GPUs."""
    exclusive: bool = False
    apart: bool = False
    islands: Mapping[str, int] = field(default_factory=dict)
    """By product, "" for all others: GPUs that must be in one island; nothing = no matter."""
    bound: tuple[BoundPod, ...] = ()
    shared: str = ""
    """What it reads that one host at a time can have: all needs that say the same go to one host. "" = nothing."""
    quota: int | None = None
    """GPUs that all services of its tenant may hold together before it gets new ones; None = no limit."""
    arrived: frozenset[Slot] = frozenset()
    """Pods that exist, whether they have a node or not."""
    overdue: bool = False
    """What was granted to pods that do not exist has waited for them long enough, and is given back."""
    withheld: bool = False
    """It was given back: until the pods exist, or it is tried again, nothing is granted to those that do not."""
    last: bool = False
    """It is tried again: everybody else comes first."""

    @property
    def tenant(self) -> str:
        return tenant_of(self.service)

    @property
    def group_gpus(self) -> int:
        return self.pods * self.gpus

    @cached_property
    def footprint(self) -> object:
        """The same for needs that fit in the same places."""
        return self.wish.reach, self.pods, self.gpus, self.apart, self.exclusive, tuple(sorted(self.islands.items()))

    def is_at_least(self, other: Need) -> bool:
        """Wherever a group of this need fits, one of the other does, too."""
        return (
            self.wish.reach == other.wish.reach
            and self.pods >= other.pods
            and self.gpus >= other.gpus
            and self.apart >= other.apart
            and self.exclusive >= other.exclusive
            and (not any(other.islands.values()) or self.islands == other.islands)
        )

    @property
    def target(self) -> int:
        """Groups to place: the guaranteed ones, and those beyond that exist."""
        return max(self.least, min(self.wanted, self.most))

    def island(self, product: str) -> int:
        """GPUs that must be in one island of this product; 0 = no matter."""
        return self.islands.get(product, self.islands.get("", 0))

    def group(self, product: str, pods: int | None = None) -> Group:
        """One group on a product, or so many pods of it."""
        return Group(
            service=self.service,
            pods=self.pods if pods is None else pods,
            gpus=self.gpus,
            apart=self.apart,
            exclusive=self.exclusive,
            island=self.island(product),
        )


@dataclass(frozen=True)
class Held:
    """An earlier decision as it is observed: perhaps stale, perhaps in conflict with another one."""

    digest: str
    product: str
    slots: Mapping[Slot, str]
    """Host of each pod."""
    gpus: int = 0
    """GPUs of each pod."""
    proposed: frozenset[Slot] = frozenset()
    """Those that no later sync has confirmed yet."""
    created: str = ""
    uid: str = ""
    resource: str = ""
    """Under which name the nodes offer the GPUs."""
    exclusive: bool = False
    waits: bool = False
    """It was said to wait for more groups."""


class Outcome(StrEnum):
    """What a service may do."""

    BOUND = "Bound"
    """Its guaranteed groups have their GPUs, or run already."""
    PROPOSED = "Proposed"
    """GPUs were chosen; another look must confirm that nobody else was promised them."""
    PENDING = "Pending"
    """The hardware could hold it, and is in use."""
    IMPOSSIBLE = "Impossible"
    """No hardware of this pool could ever hold it."""
    UNKNOWN = "Unknown"
    """The pool has no nodes at all, so nothing can be said."""


@dataclass(frozen=True)
class Decision:
    """The answer to one need."""

    outcome: Outcome
    product: str = ""
    slots: Mapping[Slot, str] = field(default_factory=dict)
    """Host of each pod, of those that run already too."""
    proposed: frozenset[Slot] = frozenset()
    groups: int = 0
    """Groups whose pods all have their GPUs."""
    place_in_line: int = 0
    """1 = next; 0 = waits for nothing."""
    is_kept: bool = False
    """The same as was held: its explanation, given when it was decided, stays, and is not repeated here."""
    message: str = ""
    excluded: tuple[tuple[str, int], ...] = ()
    """Reasons and numbers of nodes; with the nodes taken they are all nodes of the pool."""
    foreign_unknown: bool = False
    """What pods of no service hold is not known for some node; it was counted as free."""
    breaches: tuple[str, ...] = ()
    """Where what runs breaks a rule."""
    beside: tuple[str, str] | None = None
    """A service that reads what this one shares, and its host: while it waits, no other host will do."""
    lacks_quota: bool = False
    """Its tenant holds what it may: it would not be placed, whatever were free."""
    given_back: int = 0
    """Pods whose GPUs were given back just now, because they do not exist."""
