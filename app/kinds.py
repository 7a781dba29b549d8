"""The kinds this operator serves: their CRDs and hooks, listed once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from app import inferenceendpoint, inferenceservice, modelcache
from app.crd import Kind
from app.gpupool import spec as gpupool
from app.gpus import allocation, node, request
from app.hook import CustomizeResponse, Parent, SyncRequest, SyncResponse
from app.settings import Settings


class Sync(Protocol):
    def __call__(self, request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse: ...


class Customize(Protocol):
    def __call__(self, parent: Parent) -> CustomizeResponse: ...


class Finalize(Protocol):
    def __call__(self, request: SyncRequest) -> SyncResponse: ...


class KindHooks(NamedTuple):
    """A kind and its three hooks, all pure functions."""

    kind: Kind
    sync: Sync
    customize: Customize
    finalize: Finalize


_ALL = (
    KindHooks(inferenceservice.KIND, inferenceservice.sync, inferenceservice.customize, inferenceservice.finalize),
    KindHooks(modelcache.KIND, modelcache.sync, modelcache.customize, modelcache.finalize),
    KindHooks(
        inferenceendpoint.KIND,
        inferenceendpoint.sync,
        inferenceendpoint.customize,
        inferenceendpoint.finalize,
    ),
)

HOOKS: Mapping[str, KindHooks] = {hooks.kind.name.lower(): hooks for hooks in _ALL}
KINDS: tuple[Kind, ...] = (
    *(hooks.kind for hooks in _ALL),
    gpupool.KIND,
    node.KIND,
    request.KIND,
    allocation.KIND,
)
