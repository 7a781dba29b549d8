"""Services that come together are packed together.

Placed one by one in the order of the line, small services open nodes that a later large one would have needed whole.
So when one does not fit, those that found their first places in this very call, and that nobody has been told of yet,
are placed once more with it, the bulky ones first. Either all of them have places then, or everything stays as it was:
nobody loses a place to somebody behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.scheduling.assignment import Assignment
from app.scheduling.placer import GroupPlacer

MOST = 48
"""Groups that are placed once more: one call costs that many placements."""


def may_repack(placer: GroupPlacer, fresh: Sequence[Assignment], assignment: Assignment) -> bool:
    """Whether it is worth a try: few enough groups, and as many GPUs as are missing."""
    together = (*fresh, assignment)
    if not assignment.is_new or not fresh or sum(len(it.guaranteed) for it in together) > MOST:
        return False
    request, snapshot = assignment.request, placer.snapshot
    nodes = {
        place
        for product in placer.eligible.products(request.requirements)
        for place in placer.eligible.now(request.requirements, product)
    }
    given_up = sum(len(it.hosts) * it.request.gpus_per_node for it in together)
    return (
        sum(max(0, snapshot.free[place]) for place in nodes) + given_up
        >= len(assignment.guaranteed) * request.group_gpus
    )


def repack(placer: GroupPlacer, fresh: Sequence[Assignment], assignment: Assignment) -> bool:
    """Whether the assignment found its places together with all of `fresh`; if not, nothing has changed."""
    before = [(it, dict(it.hosts), it.product) for it in (*fresh, assignment)]
    _clear(placer, before)
    for it in sorted((*fresh, assignment), key=_bulk):
        placer.place(it, it.guaranteed)
        if it.waits:
            break
    else:
        return True
    _clear(placer, before)
    for it, slots, product in before:
        placer.restore(it, slots, product)
    return False


Before = tuple[Assignment, dict[tuple[int, int], str], str | None]


def _clear(placer: GroupPlacer, before: Iterable[Before]) -> None:
    for assignment, _, _ in before:
        placer.give_up(assignment, list(assignment.hosts))
        assignment.product = None


def _bulk(assignment: Assignment) -> tuple[bool, bool, int, int, str]:
    """Who needs whole nodes comes first, then who needs most on one node, then who needs most."""
    request = assignment.request
    return (
        not request.exclusive,
        not request.one_pod_per_node,
        -request.gpus_per_node,
        -request.nodes * request.gpus_per_node,
        request.service,
    )
