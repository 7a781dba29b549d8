"""What a CompositeController and a DecoratorController have in common: when to sync which object, and how to retry."""

from __future__ import annotations

import copy
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from tools.sandbox.api import Api, ApiError, Object
from tools.sandbox.standin import labels
from tools.sandbox.standin.children import ChildrenError, Groups, manage_children, read_strategies
from tools.sandbox.standin.events import Recorder
from tools.sandbox.standin.informer import Informer, Informers, controller_of, key_of
from tools.sandbox.standin.queue import WorkQueue
from tools.sandbox.standin.related import NotSyncedError, Related, group_key
from tools.sandbox.standin.webhook import Connect, Hook, HookError, TooManyRequestsError

logger = logging.getLogger(__name__)
EXPECTED = (HookError, ChildrenError, ApiError, httpx2.HTTPError, LookupError, labels.InvalidSelectorError)


@dataclass(frozen=True)
class Means:
    """What every controller works with."""

    api: Api
    informers: Informers
    recorder: Recorder
    workers: int
    connect: Connect = Hook


class Controller(ABC):
    """A running controller. Creating one raises UnknownResourceError when any of its kinds is missing."""

    def __init__(self, controller: Object, means: Means, *, parent: Object, children: list[Object]) -> None:
        """`parent` is the rule that selects objects, `children` are the rules of what is made for them."""
        self.controller = controller
        self._api, self._recorder = means.api, means.recorder
        informers = means.informers
        self._parent_rule = parent
        self._parents = informers.of(parent["apiVersion"], parent["resource"])
        named = {f"{it['apiVersion']}/{it['resource']}": it for it in children}
        self._children = {key: informers.of(it["apiVersion"], it["resource"]) for key, it in named.items()}
        self._strategies = read_strategies(
            children, {key: informer.resource for key, informer in self._children.items()}
        )
        self._related = Related(controller, informers, self._enqueue, means.connect)
        self._queue = WorkQueue()
        self._workers = means.workers
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
        return self._is_selected(parent)

    def _is_selected(self, parent: Object) -> bool:
        return labels.matches(self._parent_rule.get("labelSelector"), parent["metadata"].get("labels") or {})

    def _on_parent(self, old: Object | None, new: Object | None) -> None:
        ignored = self._parent_rule.get("ignoreStatusChanges")
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

    @abstractmethod
    def _sync(self, parent: Object) -> None:
        """Call the hook and make its answer true."""

    @abstractmethod
    def _is_claimed(self, parent: Object, child: Object) -> bool:
        """Whether a child that the parent controls was made by this controller."""

    def _claim(self, parent: Object) -> Groups:
        """The children of a parent; every declared kind has its group, even if empty."""
        groups: Groups = {}
        namespace = parent["metadata"].get("namespace")
        for informer in self._children.values():
            group = groups.setdefault(group_key(informer.resource.api_version, informer.resource.kind), {})
            for child in informer.owned_by(parent["metadata"]["uid"]):
                inside = namespace is None or child["metadata"].get("namespace") == namespace
                if inside and self._is_claimed(parent, child):
                    group[key_of(child)] = child
        return groups

    def _resync_after(self, parent: Object, answer: Object) -> None:
        if delay := answer.get("resyncAfterSeconds"):
            self._queue.add_after(key_of(parent), float(delay))

    def _manage(self, parent: Object, observed: Groups, desired: Groups) -> None:
        manage_children(self._api, self._strategies, parent, observed, desired)


def checked_children(parent: Object, children: list[Object]) -> list[Object]:
    """The children a hook answered, each in the parent's namespace unless it names another."""
    for child in children:
        if not isinstance(child, dict) or not child.get("kind"):
            raise HookError(f"a child is no object with a kind: {child!r}")
        metadata = child.setdefault("metadata", {})
        if not metadata.get("namespace") and parent["metadata"].get("namespace"):
            metadata["namespace"] = parent["metadata"]["namespace"]
    return children


def _only_status_changed(old: Object, new: Object) -> bool:
    before, after = old["metadata"], new["metadata"]
    kept = all(before.get(field) == after.get(field) for field in ("generation", "labels", "annotations"))
    return kept and not after.get("deletionTimestamp")
