"""Where one group goes: the smallest domain that holds it, the tightest node that does, nothing taken apart.

    capacity of a node    free // GPUs of a pod; at most 1 where pods of a group must be apart
    islands               see app/scheduling/islands.py

A group is whole or not placed. Domains are tried from one node over rack, block and zone to the whole pool; of those of
one level that hold the group, the one with the fewest free GPUs is taken, so that large free blocks stay large. Inside
it the fewest nodes are used: one that holds all that is left, else the one that holds most; of equals the fullest, and
rather one where somebody is already than one that is all free. The order of nodes, which is that of their names, breaks
ties, so the same state has the same answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from app.scheduling.islands import keeps_islands
from app.scheduling.nodes import Node
from app.scheduling.snapshot import Snapshot

MEASURED = 16
"""Looks at a node that it costs to measure its capacity and to sort it by domain."""
_UNTOUCHED = 1 << 20
"""More GPUs than any node has."""


@dataclass(frozen=True)
class Group:
    """Pods to place together."""

    service: str
    pods: int
    gpus: int
    """GPUs of each pod."""
    one_pod_per_node: bool = False
    """Every pod on a node of its own."""
    exclusive: bool = False
    island: int = 0
    """GPUs that must be in one island: the tensor parallel size; 0 = no matter. Every GPU is an island of one."""
    spread: bool = False
    """Take the emptiest nodes, wherever they are: of pods that must be apart, most groups fit this way."""


def place_group(
    group: Group, places: Sequence[int], snapshot: Snapshot, anchors: Sequence[int] = ()
) -> list[int] | None:
    """A node for each pod, or None. `places` are the nodes that may be used, `anchors` those of pods of the same group
    that stay where they are: the others come as near to them as possible."""
    snapshot.examined += len(places)
    if group.pods == 1 and not anchors:
        tight = _tightest_for_one(group, places, snapshot)
        return None if tight is None else [tight]
    free, gpus = snapshot.free, group.gpus
    candidates = [place for place in places if free[place] >= gpus]
    if sum(free[place] // gpus for place in candidates) < group.pods:
        return None
    capacities = {place: slots for place in candidates if (slots := capacity(group, place, snapshot))}
    if sum(capacities.values()) < group.pods:
        return None
    snapshot.examined += MEASURED * len(candidates)
    if group.spread:
        return _emptiest(group.pods, capacities, snapshot)
    if not anchors and (tightest := _tightest(capacities, group.pods, snapshot)) is not None:
        return [tightest] * group.pods
    levels = max((len(snapshot.nodes[place].domains) for place in capacities), default=0)
    for level in range(levels - 1, -1, -1):
        if found := _in_domain(group, capacities, level, snapshot, anchors):
            return found
    return _fewest_nodes(group.pods, capacities, snapshot)


def count_groups(group: Group, places: Sequence[int], snapshot: Snapshot) -> int:
    """How many such groups find a place, placed one after the other.

    Pods that may share a node take one unit of capacity each, wherever they go. Of pods that must be apart a node takes
    one of each group: k groups fit when sum(min(capacity, k)) >= k * pods.
    """
    snapshot.examined += MEASURED * len(places)
    together = replace(group, one_pod_per_node=False)
    capacities = [slots for place in places if (slots := capacity(together, place, snapshot))]
    if not group.one_pod_per_node:
        return sum(capacities) // group.pods
    least, most = 0, sum(capacities) // group.pods
    while least < most:
        middle = (least + most + 1) // 2
        if sum(min(slots, middle) for slots in capacities) >= middle * group.pods:
            least = middle
        else:
            most = middle - 1
    return least


def capacity(group: Group, place: int, snapshot: Snapshot) -> int:
    """Pods of the group that this node can take now."""
    free = snapshot.free[place]
    if free < group.gpus or not snapshot.admits(place, group.service, group.exclusive):
        return 0
    return slots_on(group, snapshot.nodes[place], free)


def slots_on(group: Group, node: Node, free: int) -> int:
    """Pods of the group that a node holds with so many GPUs free, if it may be used at all."""
    if free < group.gpus or not keeps_islands(group.gpus, group.island, node, free):
        return 0
    if group.one_pod_per_node:
        return 1
    most = free // group.gpus
    if group.island <= 1:
        return most
    return next(
        (
            pods
            for pods in range(1, most)
            if not keeps_islands(group.gpus, group.island, node, free - pods * group.gpus)
        ),
        most,
    )


def _tightness(place: int, snapshot: Snapshot) -> int:
    """Free GPUs; those of a node where nobody is count more, so that whole nodes stay free."""
    free, gpus = snapshot.free[place], snapshot.nodes[place].gpus
    return free if free < gpus else free + _UNTOUCHED


def _tightest(capacities: dict[int, int], pods: int, snapshot: Snapshot) -> int | None:
    """The fullest node that holds all the pods."""
    holding = [place for place, slots in capacities.items() if slots >= pods]
    return min(holding, key=lambda place: (_tightness(place, snapshot), place), default=None)


def _tightest_for_one(group: Group, places: Sequence[int], snapshot: Snapshot) -> int | None:
    """The same for the usual group of one pod, in one pass that asks further only where enough is free."""
    best, least, free, nodes = None, sys.maxsize, snapshot.free, snapshot.nodes
    for place in places:
        count = free[place]
        if count >= group.gpus:
            tightness = count if count < nodes[place].gpus else count + _UNTOUCHED
            if tightness < least and capacity(group, place, snapshot):
                best, least = place, tightness
    return best


def _in_domain(
    group: Group, capacities: dict[int, int], level: int, snapshot: Snapshot, anchors: Sequence[int]
) -> list[int] | None:
    """The group in one domain of this level, None when no domain holds it."""
    domains: dict[str, dict[int, int]] = {}
    for place, slots in capacities.items():
        names = snapshot.nodes[place].domains
        if len(names) > level and names[level]:
            domains.setdefault(names[level], {})[place] = slots
    wanted = _domains_of(anchors, level, snapshot)
    holding = [
        (sum(snapshot.free[place] for place in members), name)
        for name, members in domains.items()
        if sum(members.values()) >= group.pods and (not wanted or wanted == {name})
    ]
    return _fewest_nodes(group.pods, domains[min(holding)[1]], snapshot) if holding else None


def _domains_of(anchors: Iterable[int], level: int, snapshot: Snapshot) -> set[str]:
    names = (snapshot.nodes[place].domains for place in anchors)
    return {domains[level] if len(domains) > level else "" for domains in names}


def _fewest_nodes(pods: int, capacities: dict[int, int], snapshot: Snapshot) -> list[int]:
    """A node for each pod; the capacities hold them all. Those that hold most come first, until one holds the rest."""
    ordered = sorted(capacities, key=lambda it: (-capacities[it], _tightness(it, snapshot), it))
    chosen: list[int] = []
    for index, place in enumerate(ordered):
        missing = pods - len(chosen)
        if capacities[place] >= missing:
            last = _tightest({it: capacities[it] for it in ordered[index:]}, missing, snapshot)
            return chosen + [place if last is None else last] * missing
        chosen += [place] * capacities[place]
    return chosen


def _emptiest(pods: int, capacities: dict[int, int], snapshot: Snapshot) -> list[int]:
    """A node for each pod, each on one of its own, the emptiest first; the capacities hold them all."""
    return sorted(capacities, key=lambda place: (-snapshot.free[place], place))[:pods]
