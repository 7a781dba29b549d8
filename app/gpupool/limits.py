"""What services of one namespace may take of the pool: the tightest of the limits whose selectors match it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.gpupool.spec import GPUPoolSpec, to_selector
from app.kube.lenient import mapping_at
from app.kube.manifest import Manifest


@dataclass(frozen=True)
class Limit:
    """None = no limit."""

    gpus: int | None = None
    max_priority: int | None = None

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
        limit
        for limit in spec.limits
        if (selector := to_selector(limit.namespace_selector)).is_empty or found is None or selector.matches(labels)
    ]
    gpus = [it.gpus for it in matching if it.gpus is not None]
    priorities = [it.max_priority for it in matching if it.max_priority is not None]
    return Limit(min(gpus, default=None), min(priorities, default=None))
