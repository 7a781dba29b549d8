"""Services that come together are packed together.

Placed one by one in the order of the line, small services open nodes that a later large one would have needed whole.
So when one does not fit, those that found their first places in this very call, and that nobody has been told of yet,
are placed once more with it, the bulky ones first. Either all of them have places then, or everything stays as it was:
nobody loses a place to somebody behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.scheduling.assignment import Draft
from app.scheduling.placer import Filler

MOST = 48
"""Groups that are placed once more: one call costs that many placements."""


def may_repack(filler: Filler, fresh: Sequence[Draft], draft: Draft) -> bool:
    """Whether it is worth a try: few enough groups, and as many GPUs as are missing."""
    together = (*fresh, draft)
    if not draft.is_fresh or not fresh or sum(len(it.guaranteed) for it in together) > MOST:
        return False
    need, ledger = draft.need, filler.ledger
    nodes = {
        place for product in filler.eligible.products(need.wish) for place in filler.eligible.now(need.wish, product)
    }
    given_up = sum(len(it.slots) * it.need.gpus for it in together)
    return sum(max(0, ledger.free[place]) for place in nodes) + given_up >= len(draft.guaranteed) * need.group_gpus


def repack(filler: Filler, fresh: Sequence[Draft], draft: Draft) -> bool:
    """Whether the draft found its places together with all of `fresh`; if not, nothing has changed."""
    before = [(it, dict(it.slots), it.product) for it in (*fresh, draft)]
    _clear(filler, before)
    for it in sorted((*fresh, draft), key=_bulk):
        filler.place(it, it.guaranteed)
        if it.waits:
            break
    else:
        return True
    _clear(filler, before)
    for it, slots, product in before:
        filler.restore(it, slots, product)
    return False


Before = tuple[Draft, dict[tuple[int, int], str], str | None]


def _clear(filler: Filler, before: Iterable[Before]) -> None:
    for draft, _, _ in before:
        filler.give_up(draft, list(draft.slots))
        draft.product = None


def _bulk(draft: Draft) -> tuple[bool, bool, int, int, str]:
    """Who needs whole nodes comes first, then who needs most on one node, then who needs most."""
    need = draft.need
    return not need.exclusive, not need.apart, -need.gpus, -need.pods * need.gpus, need.service
