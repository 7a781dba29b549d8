"""The API server of the net: objects in memory, with versions, defaults, immutable fields and lagging watches.

An object is never changed once it is stored, so that any earlier state of the cluster can be handed out again.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from app.hooks.kinds import KINDS
from app.kube.conditions import format_time
from app.kube.quantity import parse_quantity
from tests.net.defaults import with_defaults
from tools.sandbox.api import JSON_PATCH, MERGE_PATCH, Api, ApiError, Object, Resource, UnknownResourceError
from tools.sandbox.standin.informer import Handler, Informer, Informers, key_of

OURS = "inference.ai/v1alpha1"
STATUS = frozenset({"status"})
RESOURCES = (
    *(Resource(OURS, it.plural, it.name, it.scope == "Namespaced", STATUS) for it in KINDS),
    Resource("apps/v1", "deployments", "Deployment", True, STATUS),
    Resource("leaderworkerset.x-k8s.io/v1", "leaderworkersets", "LeaderWorkerSet", True, STATUS),
    Resource("batch/v1", "jobs", "Job", True, STATUS),
    Resource("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, STATUS),
    Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", True, STATUS),
    Resource("networking.k8s.io/v1", "ingresses", "Ingress", True, STATUS),
    Resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", True),
    Resource("rbac.authorization.k8s.io/v1", "roles", "Role", True),
    Resource("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", True),
    Resource("v1", "serviceaccounts", "ServiceAccount", True),
    Resource("v1", "services", "Service", True, STATUS),
    Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, STATUS),
    Resource("v1", "pods", "Pod", True, STATUS),
    Resource("v1", "nodes", "Node", False, STATUS),
    Resource("v1", "namespaces", "Namespace", False, STATUS),
)
BY_KIND: Mapping[str, Resource] = {it.kind: it for it in RESOURCES}
IMMUTABLE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "Deployment": (("spec", "selector"),),
    "Job": (("spec", "template"), ("spec", "selector"), ("spec", "podFailurePolicy")),
    "PersistentVolumeClaim": (("spec", "accessModes"), ("spec", "storageClassName"), ("spec", "volumeMode")),
    "RoleBinding": (("roleRef",),),
    "LeaderWorkerSet": (("spec", "networkConfig", "subdomainPolicy"),),
}
Watcher = Callable[[str, Object | None, Object | None], None]
"""Told of each write: who wrote, the state before and after; None when there is none."""


def copy_of(item: Object) -> Object:
    """What JSON makes of it: also a check that it is JSON."""
    copied: Object = orjson.loads(orjson.dumps(item))
    return copied


class Store(Api):
    """Writes are done as `actor`."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.actor = "user"
        self.watchers: list[Watcher] = []
        self.changes = 0
        """Writes that changed anything."""
        self._versions, self._uids = itertools.count(1), itertools.count(1)
        self._objects: dict[Resource, dict[str, Object]] = {it: {} for it in RESOURCES}
        self.logs: dict[Resource, list[tuple[str, Object | None]]] = {it: [] for it in RESOURCES}

    # As a client

    def resource(self, api_version: str, *, kind: str | None = None, plural: str | None = None) -> Resource:
        for it in RESOURCES:
            if it.api_version == api_version and (it.kind == kind or it.plural == plural):
                return it
        raise UnknownResourceError(f"there is no {kind or plural} in {api_version}")

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        found = self._objects[resource].get(_key(name, namespace))
        return copy_of(found) if found else None

    def create(self, resource: Resource, body: Object) -> Object:
        item = copy_of(body)
        metadata = item["metadata"]
        if key_of(item) in self._objects[resource]:
            raise ApiError(409, "AlreadyExists", f"{resource.plural} {key_of(item)} already exists")
        metadata |= {"uid": f"uid-{next(self._uids):06}", "creationTimestamp": format_time(self.now), "generation": 1}
        if "status" in resource.subresources and resource.kind not in ("Node", "Pod"):
            item.pop("status", None)
        return self._put(resource, None, with_defaults(item))

    def replace(self, resource: Resource, body: Object, subresource: str | None = None) -> Object:
        before = self._objects[resource].get(key_of(body))
        item = copy_of(body)
        if before is None:
            raise ApiError(404, "NotFound", f"{resource.plural} {key_of(item)} not found")
        for field in ("uid", "resourceVersion"):
            if item["metadata"].get(field, before["metadata"][field]) != before["metadata"][field]:
                raise ApiError(409, "Conflict", f"{resource.plural} {key_of(item)} has changed")
        if subresource == "status":
            item = copy_of(before | ({"status": item["status"]} if item.get("status") is not None else {}))
        elif "status" in resource.subresources:
            item.pop("status", None)
            item |= {"status": before["status"]} if "status" in before else {}
        return self._update(resource, before, with_defaults(item))

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        body: Any,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str | None = None,
    ) -> Object:
        live = self.get(resource, name, namespace)
        if live is None:
            raise ApiError(404, "NotFound", f"{resource.plural} {name} not found")
        patched = _json_patched(live, body) if content_type == JSON_PATCH else merged(live, body)
        if subresource == "status":
            return self.replace(resource, patched, subresource)
        return self.replace(resource, patched)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        before = self._objects[resource].get(_key(name, namespace))
        if before is None:
            return
        if uid and before["metadata"]["uid"] != uid:
            raise ApiError(409, "Conflict", f"{resource.plural} {name} is another by now")
        stays = resource.kind == "Pod" and before["spec"].get("nodeName")
        if before["metadata"].get("finalizers") or stays:
            if "deletionTimestamp" not in before["metadata"]:
                metadata = before["metadata"] | {"deletionTimestamp": format_time(self.now)}
                self._put(resource, before, before | {"metadata": metadata})
        else:
            self._remove(resource, before)

    # As what else runs in a cluster

    def all(self, kind: str) -> list[Object]:
        """The objects of a kind as they are now, by key; not to be changed."""
        return [item for _, item in sorted(self._objects[BY_KIND[kind]].items())]

    def find(self, kind: str, key: str) -> Object | None:
        return self._objects[BY_KIND[kind]].get(key)

    def change(self, item: Object, **parts: Any) -> None:
        """Merge into the live object, whatever its version is; `status` too."""
        resource = BY_KIND[item["kind"]]
        before = self._objects[resource].get(key_of(item))
        if before is not None:
            self._update(resource, before, merged(before, parts))

    def put(self, item: Object) -> None:
        """Store the object as it is given, in place of the live one."""
        resource = BY_KIND[item["kind"]]
        self._update(resource, self._objects[resource][key_of(item)], copy_of(item))

    def remove(self, item: Object) -> None:
        """At once, whatever holds it."""
        resource = BY_KIND[item["kind"]]
        if key_of(item) in self._objects[resource]:
            self._remove(resource, self._objects[resource][key_of(item)])

    def uids(self) -> set[str]:
        return {item["metadata"]["uid"] for group in self._objects.values() for item in group.values()}

    def everything(self) -> Iterator[Object]:
        for resource in RESOURCES:
            yield from list(self._objects[resource].values())

    def _update(self, resource: Resource, before: Object, item: Object) -> Object:
        fixed = ("uid", "creationTimestamp", "generation", "resourceVersion")
        metadata = item["metadata"] | {field: before["metadata"][field] for field in fixed}
        item = item | {"metadata": metadata}
        if item == before:
            return copy_of(item)
        self._check_immutable(resource, before, item)
        if item.get("spec") != before.get("spec"):
            metadata["generation"] += 1
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and resource.kind != "Pod":
            self._remove(resource, before)
            return copy_of(item)
        return self._put(resource, before, item)

    def _check_immutable(self, resource: Resource, before: Object, item: Object) -> None:
        for path in IMMUTABLE.get(resource.kind, ()):
            if _at(before, path) != _at(item, path):
                where = ".".join(path)
                raise ApiError(422, "Invalid", f"{resource.kind} {key_of(item)}: {where} is immutable")
        if resource.kind == "PersistentVolumeClaim":
            sizes = [parse_quantity(_at(it, ("spec", "resources", "requests", "storage"))) for it in (before, item)]
            if sizes[1] < sizes[0]:
                raise ApiError(422, "Invalid", f"{resource.kind} {key_of(item)}: a claim can only grow")

    def _put(self, resource: Resource, before: Object | None, item: Object) -> Object:
        metadata = item["metadata"] | {"resourceVersion": str(next(self._versions))}
        stored = item | {"metadata": metadata}
        self._objects[resource][key_of(stored)] = stored
        self._log(resource, before, stored)
        return copy_of(stored)

    def _remove(self, resource: Resource, before: Object) -> None:
        next(self._versions)
        del self._objects[resource][key_of(before)]
        self._log(resource, before, None)

    def _log(self, resource: Resource, before: Object | None, after: Object | None) -> None:
        some = after or before
        assert some
        self.logs[resource].append((key_of(some), after))
        if self.actor != "heartbeat":
            self.changes += 1
        for watcher in self.watchers:
            watcher(self.actor, before, after)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class View(Informer):
    """A watch of one resource: it tells of every write in order, but perhaps late."""

    def __init__(self, store: Store, resource: Resource) -> None:
        self.resource = resource
        self._log_of = store.logs[resource]
        self._seen = 0
        self._known: dict[str, Object] = {}
        self.synced = threading.Event()
        self.synced.set()

    def advance(self, lag: int) -> None:
        """Learn all but the last `lag` writes; what is known already stays known."""
        end = max(self._seen, len(self._log_of) - lag)
        for key, item in self._log_of[self._seen : end]:
            if item is None:
                self._known.pop(key, None)
            else:
                self._known[key] = item
        self._seen = end

    def get(self, key: str) -> Object | None:
        return self._known.get(key)

    def all(self) -> list[Object]:
        return list(self._known.values())

    def owned_by(self, uid: str) -> list[Object]:
        return [it for it in self._known.values() if _controller_uid(it) == uid]

    def add_handler(self, handler: Handler) -> None:
        """Nothing is woken by events here: rules say when to sync."""

    def remove_handler(self, handler: Handler) -> None:
        pass


class Views(Informers):
    """The watches of one program."""

    def __init__(self, store: Store) -> None:
        self._of = {it: View(store, it) for it in RESOURCES}
        self._store = store

    def of(self, api_version: str, plural: str) -> View:
        return self._of[self._store.resource(api_version, plural=plural)]

    def kind(self, kind: str) -> View:
        return self._of[BY_KIND[kind]]

    def advance(self, lag_of: Callable[[str], int] = lambda _: 0) -> None:
        """`lag_of`: writes that are not told yet, by kind."""
        for resource, view in self._of.items():
            view.advance(lag_of(resource.kind))


def _controller_uid(item: Object) -> str:
    owners: list[Object] = item["metadata"].get("ownerReferences") or []
    return next((str(it["uid"]) for it in owners if it.get("controller")), "")


def _key(name: str, namespace: str | None) -> str:
    return f"{namespace}/{name}" if namespace else name


def _at(item: Object, path: tuple[str, ...]) -> Any:
    value: Any = item
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def merged(value: Any, changes: Any) -> Any:
    """JSON merge patch (RFC 7386), on a copy."""
    if not isinstance(changes, dict):
        return orjson.loads(orjson.dumps(changes))
    result = dict(value) if isinstance(value, dict) else {}
    for key, change in changes.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), change)
    return result


def _json_patched(item: Object, operations: Any) -> Object:
    """JSON patch (RFC 6902): test, add and remove."""
    for operation in operations:
        *path, last = [it.replace("~1", "/").replace("~0", "~") for it in operation["path"].split("/")[1:]]
        owner: Any = item
        for step in path:
            owner = owner[int(step)] if isinstance(owner, list) else owner.get(step)
            if owner is None:
                raise ApiError(422, "Invalid", f"there is no {operation['path']}")
        place: Any = int(last) if isinstance(owner, list) else last
        there = owner[place] if isinstance(owner, list) and place < len(owner) else None
        there = owner.get(place) if isinstance(owner, dict) else there
        if operation["op"] == "test" and there != operation["value"]:
            raise ApiError(422, "Invalid", f"{operation['path']} is {there!r}")
        if operation["op"] == "add":
            owner[place] = operation["value"]
        elif operation["op"] == "remove":
            del owner[place]
    return item
