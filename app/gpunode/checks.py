"""Where the signs of a node do not agree, as sentences with the numbers: small checks in the order they are told.

Most of them show after a repartition. AMD's node labeller and device plugin read the GPUs at their start, so one that
was not restarted goes on telling what was there before (ROCm/gpu-operator issue 420).
"""

from __future__ import annotations

from collections.abc import Iterable

from app.api.v1alpha1.gpunode import Source
from app.fit.catalog import Accelerator
from app.gpunode.facts import Facts, find_declared, products_by_id, products_by_name
from app.gpunode.inventory import find_mode, has_hidden_partitions, is_possible_count, rounded_gib, told_mode
from app.gpunode.node_labels import PARTITION_KIND, STABLE_PREFIX
from app.gpunode.observe import OfferedResource
from app.policy import Chain

_PARTITION_LABEL = STABLE_PREFIX + PARTITION_KIND


def find_several_products(facts: Facts) -> str | None:
    products = products_by_id(facts.labelled) or products_by_name(facts.labelled)
    if len(products) < 2:
        return None
    return (
        f"Labels tell {len(products)} products, {_listed(item.key for item in products)}: a pod cannot choose between "
        "GPUs of one node, so the product counts as unknown."
    )


def find_other_name(facts: Facts) -> str | None:
    named = products_by_name(facts.labelled)
    if facts.source is not Source.DEVICE_ID or facts.product is None or not named:
        return None
    if all(_is_alike(facts.product, item) for item in named):
        return None
    return (
        f"Label {STABLE_PREFIX}product-name tells {_listed(item.key for item in named)}, the PCI device id "
        f"{_listed(facts.labelled.device_ids)} tells {facts.product.key}: the device id counts."
    )


def find_other_declaration(facts: Facts) -> str | None:
    declared = find_declared(facts.declared)
    if not facts.declared or facts.source is Source.DECLARED:
        return None
    if declared is None:
        return f"The declared product {facts.declared} is none that the operator knows."
    if facts.product is None or _is_alike(facts.product, declared):
        return None
    return f"The declared product is {declared.key}, AMD's labels tell {facts.product.key}: AMD's labels count."


def find_nothing_offered(facts: Facts) -> str | None:
    if facts.node.resources:
        return None
    return "The node is marked as a GPU node but offers no GPUs: is AMD's device plugin running on it?"


def find_other_count(facts: Facts) -> str | None:
    """The labeller counts GPUs or partitions, depending on the kind of fact."""
    offers = facts.node.resources
    possible = {sum(offer.capacity for offer in offers), sum(_physical(facts, offer) for offer in offers)}
    wrong = {kind: total for kind, total in facts.labelled.counted.items() if total not in possible}
    if not offers or not wrong:
        return None
    counts = (f"{total} GPUs ({_listed(_kinds_of(wrong, total))})" for total in sorted(set(wrong.values())))
    return (
        f"Labels count {_listed(counts)}, the device plugin found {_offered(offers)}: the device plugin counts. "
        "Restart AMD's node labeller."
    )


def find_other_mode(facts: Facts) -> str | None:
    labelled, named = facts.labelled.mode, sorted({offer.mode for offer in facts.node.resources if offer.mode})
    if not labelled or not named or named == [labelled]:
        return None
    return (
        f"Label {_PARTITION_LABEL} tells {labelled}, the resource names tell {_listed(named)}: the names count. "
        "Restart AMD's node labeller."
    )


def find_impossible_count(facts: Facts) -> str | None:
    offer = next((offer for offer in facts.node.resources if not _is_possible(facts, offer)), None)
    if offer is None or facts.product is None:
        return None
    mode, whole = told_mode(facts, offer), facts.most_whole
    board = f"; a node has at most {whole} whole {facts.product.key}" if whole else ""
    if mode is None:
        return f"{_offered([offer])} must be partitions{board}, but no label tells their mode."
    return (
        f"{_offered([offer])} cannot be {facts.product.key} in mode {mode}, which makes {facts.parts(mode)} of each GPU"
        f"{board}. Restart AMD's node labeller and device plugin."
    )


def find_other_memory(facts: Facts) -> str | None:
    told = [(offer, share) for offer in facts.node.resources if (share := _expected(facts, offer))]
    expected, labelled = {rounded_gib(share.memory_bytes) for _, share in told}, facts.labelled.vram_gib
    if len(told) < len(facts.node.resources) or not told or expected >= set(labelled):
        return None
    keys = _listed(sorted({share.key for _, share in told}))
    return (
        f"Label {STABLE_PREFIX}vram tells {_sizes(labelled)}, but {keys} has {_sizes(sorted(expected))}: the smaller "
        "counts. Restart AMD's node labeller."
    )


def find_other_health(facts: Facts) -> str | None:
    """kubelet follows within a minute where the device plugin asks the exporter for health; elsewhere never."""
    called, offers = facts.labelled.unhealthy, facts.node.resources
    missing = sum(offer.capacity - offer.allocatable for offer in offers)
    if not called or not offers or missing >= called:
        return None
    return (
        f"AMD's metrics exporter calls {called} {'GPU' if called == 1 else 'GPUs'} unhealthy, the device plugin "
        f"{missing} of {_offered(offers)}: the exporter counts."
    )


CONTRADICTIONS = Chain[Facts, str](
    find_several_products,
    find_other_name,
    find_other_declaration,
    find_nothing_offered,
    find_other_count,
    find_other_mode,
    find_impossible_count,
    find_other_memory,
    find_other_health,
)


def _is_alike(one: Accelerator, other: Accelerator) -> bool:
    """Products that share a device id, as MI250 and MI250X do, are alike in all that counts."""
    return (one.gfx, one.memory_bytes) == (other.gfx, other.memory_bytes)


def _kinds_of(counted: dict[str, int], total: int) -> list[str]:
    return sorted(kind for kind, found in counted.items() if found == total)


def _physical(facts: Facts, offer: OfferedResource) -> int:
    mode = find_mode(facts, offer)
    return offer.capacity // ((mode and facts.parts(mode)) or 1)


def _is_possible(facts: Facts, offer: OfferedResource) -> bool:
    mode = told_mode(facts, offer)
    if mode is None:
        return not has_hidden_partitions(facts, offer)
    parts = facts.parts(mode)
    return parts is None or is_possible_count(facts, offer.capacity, parts)


def _expected(facts: Facts, offer: OfferedResource) -> Accelerator | None:
    mode = told_mode(facts, offer)
    return facts.share(mode) if mode else facts.product


def _sizes(gib: Iterable[int]) -> str:
    return _listed(f"{size}G" for size in gib)


def _offered(offers: Iterable[OfferedResource]) -> str:
    return _listed(f"{offer.capacity} {offer.resource}" for offer in offers)


def _listed(items: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last
