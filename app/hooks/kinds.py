"""The kinds this operator serves: their CRDs and hooks, listed once.

HOOKS and DECORATORS share one namespace: the last part of their URLs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

from app import gpunode, gpupool, inferenceendpoint, inferenceservice, modelcache
from app.api.schema import Kind
from app.api.v1alpha1 import gpuallocation as allocation
from app.api.v1alpha1 import gpurequest as request
from app.hooks.home import Home, finalize_at_home, sync_at_home
from app.inferenceendpoint import own as endpoint_own
from app.inferenceservice import own as service_own
from app.metacontroller.protocol import (
    CustomizeResponse,
    DecorateRequest,
    DecorateResponse,
    Parent,
    SyncRequest,
    SyncResponse,
)
from app.modelcache import own as cache_own
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


def _at_home(home: Home, hooks: KindHooks) -> KindHooks:
    """The hooks with a last look at what goes in and comes out."""
    return hooks._replace(
        sync=partial(sync_at_home, home, hooks.sync), finalize=partial(finalize_at_home, home, hooks.finalize)
    )


_SERVICE = KindHooks(
    inferenceservice.KIND, inferenceservice.sync, inferenceservice.customize, inferenceservice.finalize
)
_CACHE = KindHooks(modelcache.KIND, modelcache.sync, modelcache.customize, modelcache.finalize)
_ENDPOINT = KindHooks(
    inferenceendpoint.KIND, inferenceendpoint.sync, inferenceendpoint.customize, inferenceendpoint.finalize
)
_POOL = KindHooks(gpupool.KIND, gpupool.sync, gpupool.customize, gpupool.finalize)

_ALL = (
    _at_home(Home(service_own.is_ours, service_own.accounts), _SERVICE),
    _at_home(Home(cache_own.is_ours, cache_own.accounts), _CACHE),
    _at_home(Home(endpoint_own.is_ours), _ENDPOINT),
    _at_home(Home(lambda _, child: child.get("kind") == allocation.KIND.name, is_namespaced=False), _POOL),
)

HOOKS: Mapping[str, KindHooks] = {hooks.kind.name.lower(): hooks for hooks in _ALL}
DECORATORS: Mapping[str, Decorator] = {"gpunode": Decorator(gpunode.KIND, gpunode.sync)}
KINDS: tuple[Kind, ...] = (
    *(hooks.kind for hooks in _ALL),
    *(decorator.kind for decorator in DECORATORS.values()),
    request.KIND,
    allocation.KIND,
)
