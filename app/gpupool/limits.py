"""What services of one namespace may take of the pool: the tightest of the limits whose selectors match it; and how
much of each limit is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.api.v1alpha1.gpupool import GPUPoolSpec, LimitUse, to_selector
from app.kube.lenient import mapping_at
from app.kube.manifest import Manifest


@dataclass(frozen=True)
class Limit:
    """None = no limit."""

    gpus: int | None = None
    max_priority: int | None = None
    matching: tuple[int, ...] = ()
    """Places in spec.limits of those that hold, counted from 0."""

    def capped(self, priority: int) -> int:
        return priority if self.max_priority is None else min(priority, self.max_priority)

    def note(self, pool: str, namespace: str, priority: int) -> str:
        """What a user would not expect, or ""."""
        if self.capped(priority) == priority:
            return ""
        return (
            f"Priority {priority} counts as {self.max_priority}, the highest that GPUPool {pool} allows namespace "
            f"{namespace} (spec.limits)."
        )


def find_limit(spec: GPUPoolSpec, namespace: str, namespaces: Mapping[str, Manifest]) -> Limit:
    """All limits that match hold. A namespace whose labels are not known yet is held by every one."""
    found = namespaces.get(namespace)
    labels = mapping_at(found, "metadata", "labels")
    matching = [
        (place, limit)
        for place, limit in enumerate(spec.limits)
        if (selector := to_selector(limit.namespace_selector)).is_empty or found is None or selector.matches(labels)
    ]
    gpus = [it.gpus for _, it in matching if it.gpus is not None]
    priorities = [it.max_priority for _, it in matching if it.max_priority is not None]
    return Limit(min(gpus, default=None), min(priorities, default=None), tuple(place for place, _ in matching))


def is_selective(spec: GPUPoolSpec) -> bool:
    """Whether the labels of namespaces must be known."""
    selectors = [spec.namespace_selector, *(limit.namespace_selector for limit in spec.limits)]
    return any(not to_selector(selector).is_empty for selector in selectors)


def build_use(
    spec: GPUPoolSpec, limits: Mapping[str, Limit], used: Mapping[str, int], held: Mapping[str, int]
) -> list[LimitUse]:
    """Use of every limit of GPUs, by the namespace that holds most; `held` are services by namespace that wait for no
    GPUs but for leave to hold them."""
    return [
        _use(place, limit.gpus, [it for it, found in limits.items() if place in found.matching], limits, used, held)
        for place, limit in enumerate(spec.limits)
        if limit.gpus is not None
    ]


def _use(
    place: int,
    gpus: int,
    namespaces: list[str],
    limits: Mapping[str, Limit],
    used: Mapping[str, int],
    held: Mapping[str, int],
) -> LimitUse:
    most = max(sorted(namespaces), key=lambda it: used.get(it, 0), default="")
    return LimitUse(
        limit=place,
        gpus=gpus,
        used=used.get(most, 0),
        namespace=most if used.get(most, 0) else None,
        waiting=sum(held.get(it, 0) for it in namespaces if limits[it].gpus == gpus),
    )
