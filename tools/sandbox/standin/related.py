"""Related objects: what the customize hook asks to see beside parent and children."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.sandbox.api import Object
from tools.sandbox.standin import labels
from tools.sandbox.standin.informer import Informer, Informers, key_of
from tools.sandbox.standin.webhook import CUSTOMIZE_FIELDS, Connect, HookError

CACHE_SECONDS = 20 * 60
KIND_SYNC_SECONDS = 10.0


class NotSyncedError(Exception):
    """A related kind was asked for just now and is not loaded yet: try again soon, without an event."""


@dataclass(frozen=True)
class Rule:
    """One entry of a customize answer."""

    api_version: str
    plural: str
    namespace: str | None
    names: tuple[str, ...]
    label_selector: Object | None
    namespace_selector: Object | None

    def matches(self, item: Object, namespaced: bool, namespaces: Callable[[str], Object | None]) -> bool:
        """Whether an object of the rule's kind is selected. `namespaces` finds a Namespace by name."""
        metadata = item["metadata"]
        own = metadata.get("namespace")
        if self.names and metadata["name"] not in self.names:
            return False
        if self.namespace and namespaced and own != self.namespace:
            return False
        if not labels.matches(self.label_selector, metadata.get("labels") or {}):
            return False
        return self.namespace_selector is None or self._in_namespace(namespaces(own or ""))

    def _in_namespace(self, found: Object | None) -> bool:
        return bool(found) and labels.matches(self.namespace_selector, (found or {})["metadata"].get("labels") or {})


def parse_rule(raw: Object) -> Rule:
    """Raises HookError for combinations Metacontroller refuses."""
    rule = Rule(
        raw["apiVersion"],
        raw["resource"],
        raw.get("namespace") or None,
        tuple(raw.get("names") or ()),
        raw.get("labelSelector"),
        raw.get("namespaceSelector"),
    )
    if rule.names and (rule.label_selector is not None or rule.namespace_selector is not None):
        raise HookError(f"a related rule has both names and a selector: {raw}")
    if rule.namespace and rule.namespace_selector is not None:
        raise HookError(f"a related rule has both namespace and namespaceSelector: {raw}")
    return rule


class Related:
    """The related objects of each parent of one controller. Rules are asked for once per (uid, generation)."""

    def __init__(
        self, controller: Object, informers: Informers, enqueue: Callable[[Object], None], connect: Connect
    ) -> None:
        spec = controller["spec"].get("hooks", {}).get("customize")
        self._hook = connect(spec, CUSTOMIZE_FIELDS) if spec else None
        self._controller = controller
        self._informers = informers
        self._enqueue = enqueue
        self._lock = threading.Lock()
        self._rules: dict[tuple[str, int], tuple[float, list[Rule]]] = {}
        self._watched: dict[Informer, Callable[[Object | None, Object | None], None]] = {}
        self._parents: Callable[[], list[Object]] = list
        self._namespaces = informers.of("v1", "namespaces")

    def start(self, parents: Callable[[], list[Object]]) -> None:
        self._parents = parents

    def stop(self) -> None:
        for informer, handler in self._watched.items():
            informer.remove_handler(handler)

    def find(self, parent: Object) -> Object:
        """The `related` part of a hook request. Raises NotSyncedError when a kind is not loaded yet."""
        found: Object = {}
        for rule in self._rules_of(parent):
            informer = self._watch(rule)
            group = found.setdefault(group_key(rule.api_version, informer.resource.kind), {})
            selected = [
                it for it in informer.all() if rule.matches(it, informer.resource.namespaced, self._namespaces.get)
            ]
            group.update({key_of(it): it for it in selected})
        return found

    def _rules_of(self, parent: Object) -> list[Rule]:
        if self._hook is None:
            return []
        cached = self._cached(parent)
        if cached is None:
            answer = self._hook.call({"controller": self._controller, "parent": parent})
            cached = [parse_rule(raw) for raw in answer.get("relatedResources") or []]
            with self._lock:
                self._rules[_identity(parent)] = (time.monotonic() + CACHE_SECONDS, cached)
        return cached

    def _cached(self, parent: Object) -> list[Rule] | None:
        with self._lock:
            expires, rules = self._rules.get(_identity(parent), (0.0, []))
        return rules if expires > time.monotonic() else None

    def _watch(self, rule: Rule) -> Informer:
        informer = self._informers.of(rule.api_version, rule.plural)
        if not informer.synced.is_set():
            raise NotSyncedError(f"{rule.plural} are not loaded yet")
        with self._lock:
            known = informer in self._watched
            if not known:
                self._watched[informer] = lambda old, new: self._changed(informer, old, new)
        if not known:
            informer.add_handler(self._watched[informer])
        return informer

    def _changed(self, informer: Informer, old: Object | None, new: Object | None) -> None:
        """Wake every parent that selected the object, or selects it now."""
        states = [item for item in (old, new) if item]
        for parent in self._parents():
            rules = self._cached(parent)
            if rules is None or any(self._selects(rule, informer, item) for rule in rules for item in states):
                self._enqueue(parent)

    def _selects(self, rule: Rule, informer: Informer, item: Object) -> bool:
        resource = informer.resource
        if (rule.api_version, rule.plural) != (resource.api_version, resource.plural):
            return False
        return rule.matches(item, resource.namespaced, self._namespaces.get)


def group_key(api_version: str, kind: str) -> str:
    """The outer key of children and related: `Kind.group/version`, or `Kind.version` for core kinds."""
    return f"{kind}.{api_version}"


def _identity(parent: Object) -> tuple[str, int]:
    return parent["metadata"]["uid"], parent["metadata"]["generation"]
