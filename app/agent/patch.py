"""A write as a value: what decisions answer and io/ sends.

Every patch holds only on the state of its object that it was decided from (a resourceVersion, or JSON patch tests), so
a race is a clean conflict and a leader that overslept cannot undo what its successor wrote. What lifts a gate tests
the pod, not of the GPUAllocation that names its node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel

from app.agent.snapshot import Allocation, CachedObject, GPUNode, Key, Request
from app.apiserver import MERGE

F = TypeVar("F", GPUNode, Request, Allocation)


class Target(StrEnum):
    """What is patched, in the order it is written: pods wait behind the gate, so that goes first."""

    UNGATE = "binding"
    EVICT = "recall"
    """A deletion: the pod is made anew. The values are labels of metrics, so they stay."""
    GPU_NODE = "gpunode"
    GPU_REQUEST = "gpurequest"
    GPU_ALLOCATION = "gpuallocation"
    JOB = "job"
    """Of a download: why its pods do not run."""
    HEARTBEAT = "heartbeat"

    @property
    def kind(self) -> str:
        """The kind of the object that is written."""
        return _KINDS[self]


_KINDS = {
    Target.UNGATE: "Pod",
    Target.EVICT: "Pod",
    Target.GPU_NODE: "GPUNode",
    Target.GPU_REQUEST: "GPURequest",
    Target.GPU_ALLOCATION: "GPUAllocation",
    Target.JOB: "Job",
    Target.HEARTBEAT: "GPUPool",
}


@dataclass(frozen=True)
class Patch:
    target: Target
    key: Key
    body: Any
    content_type: str = MERGE
    note: Mapping[str, object] = field(default_factory=dict)
    """What the log says of it, beside target and key."""


def merge_patch(target: Target, cached: CachedObject, body: Mapping[str, Any]) -> Patch:
    """A merge patch of an object as it was seen; the API server answers a conflict when it is another by now."""
    metadata = {**body.get("metadata", {}), "uid": cached.uid, "resourceVersion": str(cached.version)}
    return Patch(target, cached.key, {**body, "metadata": metadata})


def find_status_patch(
    target: Target, cached: CachedObject, observed: Mapping[str, Any], desired: BaseModel
) -> Patch | None:
    """What brings a status to what is desired, None when it is that already; fields of others are left alone."""
    wanted = desired.model_dump(mode="json", by_alias=True)
    changed = {name: value for name, value in wanted.items() if not _is_same(value, observed.get(name))}
    return merge_patch(target, cached, {"status": changed}) if changed else None


def plan_statuses(target: Target, cached: Mapping[Key, F], build: Callable[[Key], BaseModel]) -> list[Patch]:
    """Patches of the objects whose status is not what is built for their key."""
    patches = (find_status_patch(target, it, it.status, build(key)) for key, it in sorted(cached.items()))
    return [patch for patch in patches if patch]


def _is_same(wanted: Any, observed: Any) -> bool:
    """An absent list is an empty one: which of them is stored depends on the CRD's defaults."""
    return bool(wanted == observed) or (wanted == [] and observed is None)
