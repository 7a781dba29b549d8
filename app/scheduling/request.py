"""What services ask of a pool, what was decided before, and what is decided now: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from app.scheduling.nodes import NodeRequirements
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
class PlacementRequest:
    """One service's request. Groups between `least` and `most` are placed once they exist (`wanted`)."""

    service: str
    """Unique in the pool: namespace/name."""
    digest: str
    requirements: NodeRequirements
    nodes: int
    """Pods of one group."""
    gpus_per_node: int
    """GPUs of each pod."""
    min_replicas: int = 1
    """Groups that are guaranteed."""
    max_replicas: int = 1
    existing_replicas: int = 0
    priority: int = 0
    creation_timestamp: str = ""
    """RFC 3339, so that text order is time order."""
    waiting_seconds: float = 0.0
    """Seconds since it began to wait for GPUs."""
    exclusive: bool = False
    one_pod_per_node: bool = False
    islands: Mapping[str, int] = field(default_factory=dict)
    """By product, "" for all others: GPUs that must be in one island; nothing = no matter."""
    bound_pods: tuple[BoundPod, ...] = ()
    claim: str = ""
    """What it reads that one host at a time can have: all requests that say the same go to one host. "" = nothing."""
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
        return self.nodes * self.gpus_per_node

    @cached_property
    def footprint(self) -> object:
        """The same for requests that fit in the same places."""
        return (
            self.requirements.equivalence_class,
            self.nodes,
            self.gpus_per_node,
            self.one_pod_per_node,
            self.exclusive,
            tuple(sorted(self.islands.items())),
        )

    def is_at_least(self, other: PlacementRequest) -> bool:
        """Wherever a group of this request fits, one of the other does, too."""
        return (
            self.requirements.equivalence_class == other.requirements.equivalence_class
            and self.nodes >= other.nodes
            and self.gpus_per_node >= other.gpus_per_node
            and self.one_pod_per_node >= other.one_pod_per_node
            and self.exclusive >= other.exclusive
            and (not any(other.islands.values()) or self.islands == other.islands)
        )

    @property
    def target(self) -> int:
        """Groups to place: the guaranteed ones, and those beyond that exist."""
        return max(self.min_replicas, min(self.existing_replicas, self.max_replicas))

    def island(self, product: str) -> int:
        """GPUs that must be in one island of this product; 0 = no matter."""
        return self.islands.get(product, self.islands.get("", 0))

    def group(self, product: str, pods: int | None = None) -> Group:
        """One group on a product, or so many pods of it."""
        return Group(
            service=self.service,
            pods=self.nodes if pods is None else pods,
            gpus=self.gpus_per_node,
            one_pod_per_node=self.one_pod_per_node,
            exclusive=self.exclusive,
            island=self.island(product),
        )


@dataclass(frozen=True)
class ExistingAllocation:
    """An earlier decision as it is observed: perhaps stale, perhaps in conflict with another one."""

    digest: str
    product: str
    hosts: Mapping[Slot, str]
    """Host of each pod."""
    gpus_per_node: int = 0
    """GPUs of each pod."""
    proposed: frozenset[Slot] = frozenset()
    """Those that no later sync has confirmed yet."""
    creation_timestamp: str = ""
    uid: str = ""
    resource: str = ""
    """Under which name the nodes offer the GPUs."""
    exclusive: bool = False
    is_waiting: bool = False
    """It was said to wait for more groups."""


class Outcome(StrEnum):
    """What a service may do."""

    BOUND = "Bound"
    """Its guaranteed groups have their GPUs, or run already."""
    PROPOSED = "Proposed"
    """GPUs were chosen; another cycle must confirm that nobody else was promised them."""
    PENDING = "Pending"
    """The hardware could hold it, and is in use."""
    IMPOSSIBLE = "Impossible"
    """No hardware of this pool could ever hold it."""
    UNKNOWN = "Unknown"
    """The pool has no nodes at all, so nothing can be said."""


@dataclass(frozen=True)
class Decision:
    """The answer to one request."""

    outcome: Outcome
    product: str = ""
    hosts: Mapping[Slot, str] = field(default_factory=dict)
    """Host of each pod, of those that run already too."""
    proposed: frozenset[Slot] = frozenset()
    groups: int = 0
    """Groups whose pods all have their GPUs."""
    place_in_line: int = 0
    """1 = next; 0 = waits for nothing."""
    is_kept: bool = False
    """The same as the existing allocation, whose explanation stays and is not repeated here."""
    message: str = ""
    excluded: tuple[tuple[str, int], ...] = ()
    """Reasons and numbers of nodes; with the nodes taken they are all nodes of the pool."""
    foreign_use_unknown: bool = False
    """What pods of no service hold is not known for some node; it was counted as free."""
    breaches: tuple[str, ...] = ()
    """Where what runs breaks a rule."""
    beside: tuple[str, str] | None = None
    """A service that reads what this one shares, and its host: while it waits, no other host will do."""
    lacks_quota: bool = False
    """Its tenant holds what it may: it would not be placed, whatever were free."""
    given_back: int = 0
    """Pods whose GPUs were given back just now, because they do not exist."""
