"""One CompositeController: which parents to sync when, and the steps of a sync."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable

import httpx

from sandbox.api import Api, ApiError, Object
from sandbox.standin import labels
from sandbox.standin.children import (
    ChildrenError,
    Groups,
    group_children,
    manage_children,
    read_strategies,
)
from sandbox.standin.events import Recorder
from sandbox.standin.informer import Informer, Informers, controller_of, key_of
from sandbox.standin.merge import same
from sandbox.standin.queue import WorkQueue
from sandbox.standin.related import NotSyncedError, Related, group_key
from sandbox.standin.webhook import SYNC_FIELDS, Hook, HookError, TooManyRequestsError

logger = logging.getLogger(__name__)
CONFLICT_RETRIES = 5
GC_FINALIZERS = {"foregroundDeletion", "orphan"}
UID_LABEL = "controller-uid"
EXPECTED = (HookError, ChildrenError, ApiError, httpx.HTTPError, LookupError, labels.InvalidSelectorError)


class Composite:
    """A running CompositeController. Creating one raises UnknownResourceError when any of its kinds is missing."""

    def __init__(self, api: Api, informers: Informers, recorder: Recorder, controller: Object, workers: int) -> None:
        spec = controller["spec"]
        parent, hooks = spec["parentResource"], spec["hooks"]
        self.controller = controller
        self._api, self._recorder = api, recorder
        self._parents = informers.of(parent["apiVersion"], parent["resource"])
        if "status" not in self._parents.resource.subresources:
            raise HookError(f"the CRD of {parent['resource']} has no status subresource")
        named = {f"{it['apiVersion']}/{it['resource']}": it for it in spec.get("childResources") or []}
        self._children = {key: informers.of(it["apiVersion"], it["resource"]) for key, it in named.items()}
        self._strategies = read_strategies(
            controller, {key: informer.resource for key, informer in self._children.items()}
        )
        self._sync_hook = Hook(hooks["sync"], SYNC_FIELDS)
        self._finalize_hook = Hook(hooks["finalize"], SYNC_FIELDS) if hooks.get("finalize") else None
        self._finalizer = "metacontroller.io/compositecontroller-" + controller["metadata"]["name"]
        self._related = Related(controller, informers, self._enqueue)
        self._queue = WorkQueue()
        self._workers = workers
        self._stopped = threading.Event()
        self._undo: list[Callable[[], None]] = []

    # When to sync

    def start(self) -> None:
        self._related.start(self._parents.all)
        self._listen(self._parents, self._on_parent)
        for informer in self._children.values():
            self._listen(informer, self._on_child)
        for number in range(self._workers):
            self._spawn(self._work, f"worker-{number}")
        if period := self.controller["spec"].get("resyncPeriodSeconds"):
            self._spawn(lambda: self._resync(max(1.0, float(period))), "resync")

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        threading.Thread(target=target, name=f"{self.controller['metadata']['name']}-{name}", daemon=True).start()

    def _listen(self, informer: Informer, handler: Callable[[Object | None, Object | None], None]) -> None:
        informer.add_handler(handler)
        self._undo.append(lambda: informer.remove_handler(handler))

    def stop(self) -> None:
        self._stopped.set()
        self._queue.close()
        self._related.stop()
        for undo in self._undo:
            undo()

    def _resync(self, period: float) -> None:
        while not self._stopped.wait(period):
            for parent in self._parents.all():
                self._enqueue(parent)

    def _enqueue(self, parent: Object) -> None:
        if self._is_ours(parent):
            self._queue.add(key_of(parent))

    def _is_ours(self, parent: Object) -> bool:
        return self._is_selected(parent) or self._finalizer in (parent["metadata"].get("finalizers") or [])

    def _is_selected(self, parent: Object) -> bool:
        selector = self.controller["spec"]["parentResource"].get("labelSelector")
        return labels.matches(selector, parent["metadata"].get("labels") or {})

    def _on_parent(self, old: Object | None, new: Object | None) -> None:
        ignored = self.controller["spec"]["parentResource"].get("ignoreStatusChanges")
        if new and not (ignored and old and _only_status_changed(old, new)):
            self._enqueue(new)

    def _on_child(self, old: Object | None, new: Object | None) -> None:
        for item in (old, new):
            owner = controller_of(item) if item else None
            if item and owner and owner["kind"] == self._parents.resource.kind:
                namespace = item["metadata"].get("namespace") if self._parents.resource.namespaced else None
                key = f"{namespace}/{owner['name']}" if namespace else owner["name"]
                parent = self._parents.get(key)
                if parent and parent["metadata"]["uid"] == owner["uid"]:
                    self._enqueue(parent)

    def _work(self) -> None:
        for informer in (self._parents, *self._children.values()):
            informer.synced.wait()
        while (key := self._queue.get()) is not None:
            try:
                self._attempt(key)
            finally:
                self._queue.done(key)

    def _attempt(self, key: str) -> None:
        """An error puts the parent back with growing delay, and an event on it says why."""
        parent = self._parents.get(key)
        if parent is None:
            self._queue.forget(key)
            return
        try:
            self._sync(copy.deepcopy(parent))
        except TooManyRequestsError as wait:
            self._queue.add_after(key, wait.seconds)
        except NotSyncedError:
            self._queue.add_rate_limited(key)
        except Exception as error:
            if not isinstance(error, EXPECTED):
                logger.exception("sync of %s failed", key)
            self._recorder.record(parent, "Warning", "SyncError", f"Sync error: {error}")
            self._queue.add_rate_limited(key)
        else:
            self._queue.forget(key)

    # One sync

    def _sync(self, parent: Object) -> None:
        parent = self._sync_finalizer(parent)
        if not self._is_ours(parent):
            return
        observed = self._claim(parent)
        answer = self._call_hook(parent, observed, self._related.find(parent))
        desired = group_children(self._prepare(parent, answer.get("children") or []))
        if delay := answer.get("resyncAfterSeconds"):
            self._queue.add_after(key_of(parent), float(delay))
        if answer.get("finalized"):
            parent = self._update(parent, lambda it: _set_finalizer(it, self._finalizer, present=False))
        failure = self._manage(parent, observed, desired)
        self._write_status(parent, answer.get("status") or {})
        if failure:
            raise failure

    def _sync_finalizer(self, parent: Object) -> Object:
        """Present exactly while there is a finalize hook; never added to a parent that is going away."""
        wanted = self._finalize_hook is not None
        present = self._finalizer in (parent["metadata"].get("finalizers") or [])
        if wanted == present or (wanted and parent["metadata"].get("deletionTimestamp")):
            return parent
        return self._update(parent, lambda it: _set_finalizer(it, self._finalizer, wanted))

    def _claim(self, parent: Object) -> Groups:
        """Children that the parent controls and selects; every declared kind has its group, even if empty."""
        groups: Groups = {}
        namespace = parent["metadata"].get("namespace")
        for informer in self._children.values():
            group = groups.setdefault(group_key(informer.resource.api_version, informer.resource.kind), {})
            for child in informer.owned_by(parent["metadata"]["uid"]):
                inside = namespace is None or child["metadata"].get("namespace") == namespace
                if inside and labels.matches(self._selector(parent), child["metadata"].get("labels") or {}):
                    group[key_of(child)] = child
        return groups

    def _selector(self, parent: Object) -> Object:
        if self.controller["spec"].get("generateSelector"):
            return {"matchLabels": {UID_LABEL: parent["metadata"]["uid"]}}
        selector: Object = parent.get("spec", {}).get("selector") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            raise LookupError("the parent has no .spec.selector, and generateSelector is off")
        return selector

    def _call_hook(self, parent: Object, children: Groups, related: Object) -> Object:
        leaving = bool(parent["metadata"].get("deletionTimestamp")) or not self._is_selected(parent)
        finalizing = leaving and self._finalize_hook is not None
        hook = self._finalize_hook if finalizing and self._finalize_hook else self._sync_hook
        return hook.call(
            {
                "controller": self.controller,
                "parent": parent,
                "children": children,
                "related": related,
                "finalizing": finalizing,
            }
        )

    def _prepare(self, parent: Object, children: list[Object]) -> list[Object]:
        """Fill in namespace and generated label; refuse children that the parent would not select."""
        generated = bool(self.controller["spec"].get("generateSelector"))
        for child in children:
            if not isinstance(child, dict) or not child.get("kind"):
                raise HookError(f"a child is no object with a kind: {child!r}")
            metadata = child.setdefault("metadata", {})
            if not metadata.get("namespace") and parent["metadata"].get("namespace"):
                metadata["namespace"] = parent["metadata"]["namespace"]
            if generated:
                metadata["labels"] = {UID_LABEL: parent["metadata"]["uid"], **(metadata.get("labels") or {})}
            if not labels.matches(self._selector(parent), metadata.get("labels") or {}):
                raise HookError(
                    f"labels of child {child['kind']} {metadata['name']} do not match the parent's selector"
                )
        return children

    def _manage(self, parent: Object, observed: Groups, desired: Groups) -> ChildrenError | None:
        """Children of a parent that is going away are only managed while its finalizer is ours to remove."""
        finalizers = set(parent["metadata"].get("finalizers") or [])
        finalizing = self._finalizer in finalizers and not finalizers & GC_FINALIZERS
        if parent["metadata"].get("deletionTimestamp") and not finalizing:
            return None
        try:
            manage_children(self._api, self._strategies, parent, observed, desired)
        except ChildrenError as error:
            return error
        return None

    def _write_status(self, parent: Object, status: Object) -> None:
        """The whole status is replaced, when it differs from the live one. A parent that is gone is no error."""
        wanted = {**status, "observedGeneration": parent["metadata"]["generation"]}

        def change(live: Object) -> bool:
            changed = not same(live.get("status"), wanted)
            live["status"] = wanted
            return changed

        try:
            self._update(parent, change, subresource="status")
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    def _update(self, parent: Object, change: Callable[[Object], bool], subresource: str | None = None) -> Object:
        """Read the live object, change it, write it if changed; again when somebody else was faster."""
        metadata = parent["metadata"]
        for attempt in range(CONFLICT_RETRIES):
            live = self._api.get(self._parents.resource, metadata["name"], metadata.get("namespace"))
            if live is None or live["metadata"]["uid"] != metadata["uid"]:
                raise ApiError(404, "NotFound", f"{key_of(parent)} is gone")
            if not change(live):
                return live
            try:
                return self._api.replace(self._parents.resource, live, subresource)
            except ApiError as error:
                if error.reason != "Conflict" or attempt == CONFLICT_RETRIES - 1:
                    raise
        raise AssertionError("unreachable")


def _set_finalizer(item: Object, finalizer: str, present: bool) -> bool:
    before = item["metadata"].get("finalizers") or []
    after = [it for it in before if it != finalizer] + ([finalizer] if present else [])
    item["metadata"]["finalizers"] = after
    return after != before


def _only_status_changed(old: Object, new: Object) -> bool:
    before, after = old["metadata"], new["metadata"]
    kept = all(before.get(field) == after.get(field) for field in ("generation", "labels", "annotations"))
    return kept and not after.get("deletionTimestamp")
