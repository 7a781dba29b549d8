"""The kinds this operator serves: their CRDs and hooks, listed once.

HOOKS and DECORATORS share one namespace: the last part of their URLs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from app import gpunode, gpupool, inferenceendpoint, inferenceservice, modelcache
from app.crd import Kind
from app.gpus import allocation, request
from app.hook import CustomizeResponse, DecorateRequest, DecorateResponse, Parent, SyncRequest, SyncResponse
from app.settings import Settings


class Sync(Protocol):
    def __call__(self, request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse: ...


class Customize(Protocol):
    def __call__(self, parent: Parent) -> CustomizeResponse: ...


class Finalize(Protocol):
    def __call__(self, request: SyncRequest) -> SyncResponse: ...


class Decorate(Protocol):
    def __call__(self, request: DecorateRequest, settings: Settings) -> DecorateResponse: ...


class KindHooks(NamedTuple):
    """A kind and its three hooks, all pure functions."""

    kind: Kind
    sync: Sync
    customize: Customize
    finalize: Finalize


class Decorator(NamedTuple):
    """A kind that is attached to objects of others, and its one hook, a pure function."""

    kind: Kind
    sync: Decorate


_ALL = (
    KindHooks(inferenceservice.KIND, inferenceservice.sync, inferenceservice.customize, inferenceservice.finalize),
    KindHooks(modelcache.KIND, modelcache.sync, modelcache.customize, modelcache.finalize),
    KindHooks(
        inferenceendpoint.KIND,
        inferenceendpoint.sync,
        inferenceendpoint.customize,
        inferenceendpoint.finalize,
    ),
    KindHooks(gpupool.KIND, gpupool.sync, gpupool.customize, gpupool.finalize),
)

HOOKS: Mapping[str, KindHooks] = {hooks.kind.name.lower(): hooks for hooks in _ALL}
DECORATORS: Mapping[str, Decorator] = {"gpunode": Decorator(gpunode.KIND, gpunode.sync)}
KINDS: tuple[Kind, ...] = (
    *(hooks.kind for hooks in _ALL),
    *(decorator.kind for decorator in DECORATORS.values()),
    request.KIND,
    allocation.KIND,
)
