"""Which pod has how many GPUs on which node <-> `spec.gpus` of a GPUAllocation.

One entry a node names its first pod (`group`, `worker`, `count`) and lists the others in `more`, so that a decision
about 10,000 GPUs stays below the 262,144 bytes that the API server grants to an object's annotations, one of which
repeats it. Earlier versions wrote one entry a GPU, without `count`; both are read.

    more     token {"," token}
    token    group ["-" group]                the leaders of these groups
           | group "." worker ["-" worker]    these workers of one group
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from app.api.v1alpha1.gpuallocation import GrantedGPU

Slot = tuple[int, int]
"""Index of a group, and of a pod in it; (0, 0) is the first leader."""

MOST_PLACES = 65_536
"""Pods that are read of one decision: far more than any pool grants."""
_TOKEN = re.compile(r"(\d{1,6})(?:\.(\d{1,6}))?(?:-(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """What one pod was granted."""

    node: str
    """"" where entries name several nodes: that is no place."""
    gpus: int
    proposed: bool = False


def parse_places(gpus: Iterable[GrantedGPU]) -> dict[Slot, Place]:
    """The places that these entries of a GPUAllocation grant, by pod. What cannot be read grants nothing."""
    places: dict[Slot, Place] = {}
    for entry in gpus:
        node, count, proposed = entry.node, entry.count or 1, entry.proposed is True
        for slot in _slots(entry):
            before = places.get(slot)
            if before is None:
                places[slot] = Place(node, count, proposed)
            else:
                same = node if node == before.node else ""
                places[slot] = Place(same, before.gpus + count, before.proposed or proposed)
            if len(places) >= MOST_PLACES:
                return places
    return places


def _slots(entry: GrantedGPU) -> Iterator[Slot]:
    yield entry.group, entry.worker
    for token in (entry.more or "").split(","):
        if match := _TOKEN.fullmatch(token):
            first, worker, last = match.groups()
            if worker is None:
                yield from ((group, 0) for group in range(int(first), int(last or first) + 1))
            else:
                yield from ((int(first), it) for it in range(int(worker), int(last or worker) + 1))


def build_entries(places: Mapping[Slot, Place], memory: Mapping[str, int | None]) -> list[GrantedGPU]:
    """The entries in the order of their first pods; `memory` are bytes of one GPU by node."""
    alike: dict[Place, list[Slot]] = {}
    for slot, place in sorted(places.items()):
        alike.setdefault(place, []).append(slot)
    return [
        GrantedGPU(
            group=slots[0][0],
            worker=slots[0][1],
            node=place.node,
            count=place.gpus,
            more=_listed(slots[1:]) or None,
            memory_bytes=memory.get(place.node),
            proposed=place.proposed or None,
        )
        for place, slots in alike.items()
    ]


def _listed(slots: Iterable[Slot]) -> str:
    """Slots in their order, as tokens."""
    leaders: list[int] = []
    tokens: list[str] = []
    for group, members in groupby(slots, key=lambda slot: slot[0]):
        workers = [worker for _, worker in members]
        if workers == [0]:
            leaders.append(group)
        else:
            tokens += [f"{group}.{it}" for it in _ranges(workers)]
    return ",".join([*_ranges(leaders), *tokens])


def _ranges(numbers: list[int]) -> list[str]:
    """1, 2, 3, 7 -> "1-3", "7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ["-".join(map(str, run)) for run in runs]
