"""Facts -> the GPUs of the node: how many, in which partition mode, with how much memory.

Formulas; `whole` is the most unpartitioned GPUs that one node of the product has:

    parts   of a mode                  SPX 1, DPX 2, TPX 3, QPX 4, CPX one a compute die
    memory  of a GPU or partition      the least of: the product's; the product's / parts; the vram label, in GiB;
                                       the product's x whole / capacity, when capacity > whole
    usable  GPUs of one resource       allocatable, less those called unhealthy that are still among them

Why the last bound of memory: more GPUs than fit into a node are partitions, whatever the labels still say, and all
partitions share the memory of the GPUs that fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.api.v1alpha1.gpunode import UNKNOWN_PARTITION, Resource
from app.fit.catalog import GIB
from app.gpunode.facts import Facts
from app.gpunode.observe import OfferedResource


@dataclass(frozen=True)
class Inventory:
    resources: tuple[Resource, ...]
    partition: str | None
    """The mode that all GPUs of the node have; None: several, or none is told."""
    island: int | None
    """GPUs that are linked each with each; None when the product or its partitions are unknown."""
    unhealthy: int


def take_inventory(facts: Facts) -> Inventory:
    resources = tuple(_resource(facts, offer) for offer in facts.node.resources)
    modes = {resource.partition for resource in resources}
    missing = sum(resource.capacity - resource.gpus for resource in resources)
    return Inventory(
        resources=resources,
        partition=modes.pop() if len(modes) == 1 else None,
        island=_island(facts, resources),
        unhealthy=max(missing, facts.labelled.unhealthy),
    )


def find_mode(facts: Facts, offer: OfferedResource) -> str | None:
    """The partition mode of an offer: its name tells, else the labeller, unless what is offered refutes it."""
    told = told_mode(facts, offer)
    return told if offer.mode or (told and not _is_refuted(facts, offer, told)) else None


def told_mode(facts: Facts, offer: OfferedResource) -> str | None:
    """The mode that the name or the labeller tells, right or wrong."""
    return offer.mode or facts.labelled.mode


def is_possible_count(facts: Facts, capacity: int, parts: int) -> bool:
    """Whether a node can have that many GPUs when each is cut into `parts`."""
    return capacity % parts == 0 and (facts.most_whole is None or capacity <= facts.most_whole * parts)


def has_hidden_partitions(facts: Facts, offer: OfferedResource) -> bool:
    """More GPUs than fit into a node are partitions, also where no label tells so."""
    return not is_possible_count(facts, offer.capacity, 1)


def _is_refuted(facts: Facts, offer: OfferedResource, mode: str) -> bool:
    parts, share = facts.parts(mode), facts.share(mode)
    wrong_count = parts is not None and not is_possible_count(facts, offer.capacity, parts)
    wrong_memory = share is not None and not all(
        _is_about(size * GIB, share.memory_bytes) for size in facts.labelled.vram_gib
    )
    return wrong_count or wrong_memory


def _is_about(one: int, other: int) -> bool:
    """Within a quarter: the modes of one product differ by half or more, what drivers reserve is far less."""
    return 4 * abs(one - other) <= max(one, other)


def rounded_gib(memory_bytes: int) -> int:
    """As the labeller rounds."""
    return round(memory_bytes / GIB)


def _resource(facts: Facts, offer: OfferedResource) -> Resource:
    mode = find_mode(facts, offer)
    memory = min(_memories(facts, offer), default=None)
    return Resource(
        name=offer.resource,
        gpus=_usable(facts, offer, mode),
        capacity=offer.capacity,
        partition=UNKNOWN_PARTITION if mode is None and _is_in_doubt(facts, offer, memory) else mode,
        memory_bytes=memory,
    )


def _is_in_doubt(facts: Facts, offer: OfferedResource, memory: int | None) -> bool:
    """A mode was refuted, or there is much less memory than the product has. No word of partitions is no doubt."""
    product = facts.product
    less = product and product.partitions and memory and not _is_about(memory, product.memory_bytes)
    return bool(less) or told_mode(facts, offer) is not None


def _memories(facts: Facts, offer: OfferedResource) -> Iterator[int]:
    """Every amount of memory that a sign allows for one GPU or partition, in bytes."""
    told, product = told_mode(facts, offer), facts.product
    if product and not (told and facts.share(told) is None):
        yield product.memory_bytes
    if told and (share := facts.share(told)):
        yield share.memory_bytes
    if product and facts.most_whole and has_hidden_partitions(facts, offer):
        yield product.memory_bytes * facts.most_whole // offer.capacity
    if len(facts.labelled.vram_gib) == 1:
        yield facts.labelled.vram_gib[0] * GIB


def _usable(facts: Facts, offer: OfferedResource, mode: str | None) -> int:
    """An unhealthy GPU takes all its partitions with it; those that allocatable lacks already count once."""
    called_unhealthy = facts.labelled.unhealthy * ((mode and facts.parts(mode)) or 1)
    return max(0, min(offer.allocatable, offer.capacity - called_unhealthy))


def _island(facts: Facts, resources: tuple[Resource, ...]) -> int | None:
    """The smallest where resources differ; unknown when one of them is."""
    if not resources:
        return facts.product.island if facts.product else None
    sizes = [_island_of(facts, resource) for resource in resources]
    known = [size for size in sizes if size is not None]
    return min(known) if len(known) == len(sizes) else None


def _island_of(facts: Facts, resource: Resource) -> int | None:
    """Partitions of one GPU are linked inside it; a node smaller than a board has smaller islands."""
    share = facts.share(resource.partition) if resource.partition else facts.product
    return min(share.island, resource.capacity) if share else None
