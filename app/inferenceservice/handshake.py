"""What pool and agent tell: the GPURequest with its pods' state, and the GPUAllocation. Lenient, as observed.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.api.schema import API_VERSION
from app.kube.conditions import parse_time
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at, texts_at, value_at
from app.kube.manifest import Manifest, last_applied
from app.kube.names import LINE_IS_FULL, LINE_LABEL
from app.kube.selectors import Requirement
from app.metacontroller.protocol import SyncRequest

GPU_REQUEST = f"GPURequest.{API_VERSION}"
GPU_ALLOCATION = f"GPUAllocation.{API_VERSION}"


@dataclass(frozen=True)
class PodFailure:
    """A pod that is not ready, as the agent tells it."""

    reason: str
    message: str
    error: str


@dataclass(frozen=True)
class RequestState:
    """The observed GPURequest: our need as applied, and what the agent wrote about its pods."""

    applied: Manifest
    created: datetime | None
    pool_exists: bool | None
    any_pool: bool
    """Whether the agent sees a GPUPool of whatever name."""
    failures: tuple[PodFailure, ...]
    load_seconds: int | None

    @property
    def digest(self) -> str:
        return text_at(self.applied, "spec", "digest")

    @property
    def pool(self) -> str:
        return text_at(self.applied, "spec", "pool")


@dataclass(frozen=True)
class GrantedShape:
    """How each group uses its GPUs, as the pool chose among the shapes asked for."""

    product: str
    tensor: int
    pipeline: int
    data: int
    expert_parallel: bool
    max_model_len: int | None


@dataclass(frozen=True)
class NextState:
    """What the pool says about a changed request, while its decision about the earlier one stands."""

    digest: str
    phase: str
    message: str
    place_in_line: int


@dataclass(frozen=True)
class AllocationState:
    """The pool's decision."""

    digest: str
    phase: str
    shape: GrantedShape | None
    message: str
    place_in_line: int
    next: NextState | None
    nodes: tuple[str, ...]
    pool_nodes: tuple[Requirement, ...]
    given_back: str
    """What became of GPUs whose pods did not come, "" when there are none."""


def parse_request(request: SyncRequest) -> RequestState | None:
    """The observed GPURequest of this service."""
    found = request.child(GPU_REQUEST, request.parent.name)
    if found is None:
        return None
    exists = value_at(found, "status", "poolExists")
    seconds = value_at(found, "status", "loadSeconds")
    return RequestState(
        applied=last_applied(found),
        created=parse_time(text_at(found, "metadata", "creationTimestamp")),
        pool_exists=exists if isinstance(exists, bool) else None,
        any_pool=value_at(found, "status", "anyPool") is True,
        failures=tuple(_failure(it) for it in mappings_at(found, "status", "failures")),
        load_seconds=seconds if isinstance(seconds, int) else None,
    )


def parse_allocation(request: SyncRequest) -> AllocationState | None:
    """The observed GPUAllocation of this service."""
    found = request.related_object(GPU_ALLOCATION, request.parent.name)
    if found is None:
        return None
    spec = mapping_at(found, "spec")
    return AllocationState(
        digest=text_at(spec, "digest"),
        phase=text_at(spec, "phase"),
        shape=_shape(mapping_at(spec, "shape")),
        message=text_at(spec, "message"),
        place_in_line=count_at(spec, "placeInLine"),
        next=_next(mapping_at(spec, "next")),
        nodes=tuple(sorted({node for it in mappings_at(spec, "gpus") if (node := text_at(it, "node"))})),
        given_back=text_at(spec, "givenBack", "message"),
        pool_nodes=tuple(_requirement(it) for it in mappings_at(spec, "poolNodes")),
    )


def parse_line(request: SyncRequest) -> bool:
    """Whether a pool says that too many services of this namespace wait already (app/gpupool/line.py)."""
    return any(
        text_at(found, "metadata", "namespace") == request.parent.namespace
        and text_at(found, "metadata", "labels", LINE_LABEL) == LINE_IS_FULL
        for found in request.related.get(GPU_ALLOCATION, {}).values()
    )


def _shape(shape: Mapping[str, Any]) -> GrantedShape | None:
    if not shape:
        return None
    return GrantedShape(
        product=text_at(shape, "product"),
        tensor=count_at(shape, "tensor") or 1,
        pipeline=count_at(shape, "pipeline") or 1,
        data=count_at(shape, "data") or 1,
        expert_parallel=value_at(shape, "expertParallel") is True,
        max_model_len=count_at(shape, "maxModelLen") or None,
    )


def _next(following: Mapping[str, Any]) -> NextState | None:
    if not following:
        return None
    return NextState(
        digest=text_at(following, "digest"),
        phase=text_at(following, "phase"),
        message=text_at(following, "message"),
        place_in_line=count_at(following, "placeInLine"),
    )


def _failure(failure: Mapping[str, Any]) -> PodFailure:
    return PodFailure(text_at(failure, "reason"), text_at(failure, "message"), text_at(failure, "error"))


def _requirement(found: Mapping[str, Any]) -> Requirement:
    return Requirement(text_at(found, "key"), text_at(found, "operator"), texts_at(found, "values"))
