"""Metacontroller over the store: the sandbox's stand-in, with the hooks called in process as the service calls them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import orjson

from app.serving.answer import Call, answer
from app.settings import Settings
from tests.net.store import Store, Views
from tools.sandbox.api import ApiError, Object
from tools.sandbox.metacontroller import with_hook_url
from tools.sandbox.operator import controllers
from tools.sandbox.standin.children import ChildrenError
from tools.sandbox.standin.composite import Composite
from tools.sandbox.standin.controller import Controller, Means
from tools.sandbox.standin.decorator import Decorator
from tools.sandbox.standin.events import Recorder
from tools.sandbox.standin.informer import key_of
from tools.sandbox.standin.webhook import Caller, Fields

Heard = Callable[[str, Object, Object], None]
"""Told of each answered sync: the kind, the request and the answer."""


class BrokenHookError(AssertionError):
    """A hook answered something else than 200."""


class Hooks:
    """The hook service: bytes in, bytes out, with the store's clock."""

    def __init__(self, store: Store, settings: Settings, hear: Heard) -> None:
        self.settings = settings
        self._store, self._hear = store, hear

    def connect(self, spec: Object, fields: Fields) -> Caller:
        _, hook, kind = spec["webhook"]["url"].removeprefix("http://").split("/")
        return _Hook(self, hook, kind)

    def answer(self, hook: str, kind: str, request: Object, after: float = 0) -> Object:
        """What the service answers to this request, so many seconds from now."""
        call = Call(hook, kind, self._store.now + timedelta(seconds=after))
        found = answer(call, orjson.dumps(request), self.settings)
        if found.code != 200:
            raise BrokenHookError(f"{hook} of a {kind} answered {found.code}: {found.body.decode()}")
        response: Object = orjson.loads(found.body)
        return response

    def call(self, hook: str, kind: str, request: Object) -> Object:
        """The answer; whoever wants to know is told of syncs."""
        response = self.answer(hook, kind, request)
        if hook == "sync":
            self._hear(kind, request, response)
        return response


class _Hook:
    def __init__(self, hooks: Hooks, hook: str, kind: str) -> None:
        self._hooks, self._hook, self._kind = hooks, hook, kind

    def call(self, request: Object) -> Object:
        return self._hooks.call(self._hook, self._kind, request)


@cache
def _controllers(lws: bool) -> list[Object]:
    return [with_hook_url(it, "http://hooks") for it in controllers(lws)]


class Metacontroller:
    """All controllers. A sync sees what the watches have told so far."""

    def __init__(self, store: Store, hooks: Hooks, lws: bool) -> None:
        self.views = Views(store)
        self._store = store
        self.controllers = {
            it["metadata"]["name"]: _build(it, store, self.views, hooks) for it in copy.deepcopy(_controllers(lws))
        }

    def sync(self, name: str, key: str) -> None:
        """One sync of one parent as it is seen. Nothing that a hook answers is ever refused, so that is raised."""
        self._store.actor = name
        try:
            self.controllers[name].sync(key)
        finally:
            self._store.actor = "user"

    def parents(self, name: str) -> list[str]:
        """What a controller has seen of its parents."""
        return sorted(self.controllers[name].keys())


class _Stepped(Controller):
    """A controller that is told when to sync, and asks for no further look: everybody is synced in every round."""

    def sync(self, key: str) -> None:
        parent = self._parents.get(key)
        if parent is None:
            return
        try:
            self._sync(copy.deepcopy(parent))
        except ChildrenError as error:
            raise AssertionError(f"children of {key} were refused: {error}") from error
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):  # the parent is another by now: tried again
                raise

    def keys(self) -> list[str]:
        return [key_of(it) for it in self._parents.all()]

    def _resync_after(self, parent: Object, answer: Object) -> None:
        pass


class _Composite(_Stepped, Composite):
    pass


class _Decorator(_Stepped, Decorator):
    pass


def _build(controller: Object, store: Store, views: Views, hooks: Hooks) -> Any:
    kind = _Composite if controller["kind"] == "CompositeController" else _Decorator
    return kind(controller, Means(store, views, Recorder(store), 1, hooks.connect))
