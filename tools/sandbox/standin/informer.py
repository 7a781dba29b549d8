"""A local copy of all objects of one resource, kept up to date by list and watch."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import httpx2

from tools.sandbox.api import Api, ApiError, Object, Resource

logger = logging.getLogger(__name__)
Handler = Callable[[Object | None, Object | None], None]  # old, new: None when it did not, or no longer does, exist
RETRY_SECONDS = 0.5


def key_of(item: Object) -> str:
    """`namespace/name`, or the bare name of a cluster-scoped object: also the inner key of v2 hook requests."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def controller_of(item: Object) -> Object | None:
    """The owner reference that is marked as the controller."""
    references: list[Object] = item["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


class Informer:
    """Objects by key and by controller's uid. Objects handed out are shared: callers must not change them."""

    def __init__(self, api: Api, resource: Resource) -> None:
        self.resource = resource
        self.synced = threading.Event()
        self._api = api
        self._lock = threading.RLock()
        self._objects: dict[str, Object] = {}
        self._owned: dict[str, dict[str, Object]] = {}
        self._handlers: list[Handler] = []
        threading.Thread(target=self._run, name=f"informer-{resource.plural}", daemon=True).start()

    def get(self, key: str) -> Object | None:
        with self._lock:
            return self._objects.get(key)

    def all(self) -> list[Object]:
        with self._lock:
            return list(self._objects.values())

    def owned_by(self, uid: str) -> list[Object]:
        """Objects that this one controls; "" for those that nothing controls."""
        with self._lock:
            return list(self._owned.get(uid, {}).values())

    def add_handler(self, handler: Handler) -> None:
        """Call `handler` for what exists already, and for every change from now on."""
        with self._lock:
            self._handlers.append(handler)
            for item in self._objects.values():
                handler(None, item)

    def remove_handler(self, handler: Handler) -> None:
        with self._lock:
            self._handlers.remove(handler)

    def _run(self) -> None:
        while True:
            try:
                self._list_and_watch()
            except (ApiError, httpx2.HTTPError) as error:
                logger.info("watch of %s ended: %s", self.resource.plural, error)
                time.sleep(RETRY_SECONDS)

    def _list_and_watch(self) -> None:
        listed, version = self._api.list(self.resource)
        fresh = {key_of(item): item for item in listed}
        for key in [key for key in self._objects if key not in fresh]:
            self._put(key, None)
        for key, item in fresh.items():
            self._put(key, item)
        self.synced.set()
        while True:
            for kind, item in self._api.watch(self.resource, version):
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._put(key_of(item), None if kind == "DELETED" else item)

    def _put(self, key: str, new: Object | None) -> None:
        with self._lock:
            old = self._objects.pop(key, None)
            if old:
                self._disown(key, old)
            if new:
                self._objects[key] = new
                self._own(key, new)
            if _version(old) != _version(new):
                self._notify(old, new)

    def _own(self, key: str, item: Object) -> None:
        self._owned.setdefault(_controller_uid(item), {})[key] = item

    def _disown(self, key: str, item: Object) -> None:
        self._owned.get(_controller_uid(item), {}).pop(key, None)

    def _notify(self, old: Object | None, new: Object | None) -> None:
        for handler in list(self._handlers):
            try:
                handler(old, new)
            except Exception:
                logger.exception("a handler of %s failed", self.resource.plural)


def _controller_uid(item: Object) -> str:
    owner = controller_of(item)
    return str(owner["uid"]) if owner else ""


def _version(item: Object | None) -> str | None:
    return item["metadata"]["resourceVersion"] if item else None


class Informers:
    """One informer per resource, shared by all controllers and never stopped."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._running: dict[Resource, Informer] = {}

    def of(self, api_version: str, plural: str) -> Informer:
        """Raises UnknownResourceError when the API server does not serve it."""
        resource = self._api.resource(api_version, plural=plural)
        with self._lock:
            if resource not in self._running:
                self._running[resource] = Informer(self._api, resource)
            return self._running[resource]
