"""One small cluster: users, the operator, and everything else that runs in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.hooks.kinds import HOOKS
from app.kube.conditions import format_time
from app.kube.manifest import differences
from app.settings import Settings
from tests.net.agent import Agent
from tests.net.hooks import Hooks, Metacontroller
from tests.net.machinery import GPU, Machinery, is_healthy
from tests.net.store import BY_KIND, OURS, Store, merged
from tests.net.truths import Truths, conditions
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node
from tools.sandbox.standin.informer import key_of

START = datetime(2026, 1, 1, tzinfo=UTC)
MOST_ROUNDS = 60
STILL = 2
"""Rounds in a row in which nothing is written: then the cluster is at rest."""


class World:
    """Every step is one that could happen in a cluster; what must hold is checked at each of them."""

    def __init__(self, settings: Settings | None = None, lws: bool = True, nodes: int = 2) -> None:
        self.store = Store(START)
        self.machinery = Machinery(self.store)
        self.truths = Truths(self.store, self.machinery)
        self.hooks = Hooks(self.store, settings or Settings(), self.truths.hear)
        self.operator = Metacontroller(self.store, self.hooks, lws)
        self.agent = Agent(self.store)
        self.make("Namespace", "red", metadata={"labels": {"kubernetes.io/metadata.name": "red"}})
        self.make("Namespace", "blue", metadata={"labels": {"kubernetes.io/metadata.name": "blue"}})
        for index in range(nodes):
            self.add_node(index)

    # What people do

    def make(self, kind: str, key: str, **parts: Any) -> bool:
        """Create an object unless one of its name is there."""
        namespace, _, name = key.rpartition("/")
        place = {"namespace": namespace} if namespace else {}
        if self.store.find(kind, key):
            return False
        resource = BY_KIND[kind]
        item = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name} | place}
        self.store.create(resource, merged(item, parts))
        return True

    def edit(self, kind: str, key: str, **parts: Any) -> None:
        """Merge into an object, if it is there."""
        found = self.store.find(kind, key)
        if found:
            self.store.change(found, **copy.deepcopy(parts))

    def replace_spec(self, kind: str, key: str, spec: Object) -> None:
        found = self.store.find(kind, key)
        if found:
            self.store.put(found | {"spec": spec})

    def delete(self, kind: str, key: str) -> None:
        namespace, _, name = key.rpartition("/")
        self.store.delete(BY_KIND[kind], name, namespace or None)

    def hold(self, kind: str, key: str, held: bool) -> None:
        """Somebody's finalizer: with it, an object that is deleted lingers."""
        self.edit(kind, key, metadata={"finalizers": ["example.com/hold"] if held else None})

    def add_node(self, index: int, gpus: int = 8, product: str = "MI300X") -> None:
        node = build_node(index, gpus=gpus, product=product, prefix="n", rack=f"r{index % 2}")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(self.store.now)}
        labels = {"labels": node["metadata"]["labels"]}
        self.make("Node", f"n-{index}", metadata=labels, spec={}, status=node["status"] | {"conditions": [ready]})

    def set_ready(self, node: str, ready: bool) -> None:
        since = format_time(self.store.now)
        told = {"type": "Ready", "status": "True" if ready else "Unknown", "lastTransitionTime": since}
        found = self.store.find("Node", node)
        if found and (found["status"]["conditions"][0]["status"] == "True") != ready:
            self.edit("Node", node, status={"conditions": [told]})

    def change_node(self, name: str, change: str) -> bool:
        """False where there is no such node."""
        found = self.store.find("Node", name)
        if found is None:
            return False
        spec = {"taints": None, "unschedulable": None}
        tainted = {"tainted": "NoSchedule", "avoided": "PreferNoSchedule"}
        if change == "gone":
            self.delete("Node", name)
        elif change in ("ready", "not ready"):
            self.set_ready(name, change == "ready")
        elif change in tainted:
            self.edit("Node", name, spec=spec | {"taints": [{"key": "example.com/x", "effect": tainted[change]}]})
        elif change in ("cordoned", "open"):
            self.edit("Node", name, spec=spec | ({"unschedulable": True} if change == "cordoned" else {}))
        else:
            gpus = min(int(change.partition(" ")[0]), int(found["status"]["capacity"][GPU]))
            self.edit("Node", name, status={"allocatable": {GPU: str(gpus)}})
        return True

    def status(self, kind: str, key: str) -> Object:
        found: Object = (self.store.find(kind, key) or {}).get("status", {})
        return found

    # What happens

    def sync(self, controller: str, key: str, lag_of: Callable[[str], int] = lambda _: 0) -> None:
        """One sync; `lag_of` are writes that its watches do not tell yet, by kind."""
        self.operator.views.advance(lag_of)
        if key in self.operator.parents(controller):
            self.operator.sync(controller, key)

    def sync_all(self) -> None:
        for controller in self.operator.controllers:
            self.operator.views.advance()
            for key in self.operator.parents(controller):
                self.operator.views.advance()
                self.operator.sync(controller, key)

    def report(self, lag_of: Callable[[str], int] = lambda _: 0) -> None:
        self.agent.views.advance(lag_of)
        self.agent.look()

    def round(self) -> None:
        self.store.pass_time(1)
        self.sync_all()
        self.report()
        self.machinery.look()

    def settle(self) -> None:
        """Rounds until nothing is written any more, and then once more with all that must hold at rest."""
        still, rounds = 0, 0
        while still < STILL:
            before, end = self.store.changes, self._ends()
            self.round()
            rounds += 1
            still = still + 1 if self.store.changes == before else 0
            if rounds >= MOST_ROUNDS:
                raise AssertionError(f"after {rounds} rounds there is no rest: {self._written_since(end)}")
        self.truths.check_gpus()
        for (kind, key), (request, answer) in sorted(self.truths.latest.items(), key=lambda it: it[0]):
            if kind in HOOKS and self.store.find(HOOKS[kind].kind.name, key):
                self._check_at_rest(kind, key, request, answer)
        self._check_that_all_came_to_an_end()

    def _check_at_rest(self, kind: str, key: str, request: Object, answer: Object) -> None:
        """Who asks for no further look is told the same an hour later; and whoever is deleted may go at once. What
        would be decided today beside a workload that is kept is only told at the next look, whenever that is."""
        kept = conditions(answer["status"]).get("UpdateAvailable", {}).get("status") == "Unknown"
        if not answer.get("resyncAfterSeconds") and not kept:
            later = self.hooks.answer("sync", kind, request, after=3600)
            changes = list(differences(answer, later))[:3]
            assert later == answer, f"{kind} {key} changes by time alone, and asked for no look: {changes}"
        last = self.hooks.answer("finalize", kind, request)
        names = {(it["kind"], it["metadata"]["name"]) for it in last["children"]}
        there = {
            (it["kind"], it["metadata"]["name"]) for group in request["children"].values() for it in group.values()
        }
        assert last["finalized"], f"{kind} {key} may not go"
        assert names <= there, f"{kind} {key} makes {names - there} while it goes"

    def _check_that_all_came_to_an_end(self) -> None:
        """In fine weather nothing is under way any more once all is still."""
        weather = self.machinery.weather
        if weather.jobs == "done" and weather.volumes:
            staying = (it for it in self.store.all("ModelCache") if "deletionTimestamp" not in it["metadata"])
            for cache in staying:
                phase, told = cache["status"]["phase"], conditions(cache["status"])
                whole = told.get("ChildConflict", {}).get("status") == "False"
                ended = phase not in ("Pending", "Downloading")
                assert ended or not whole, f"ModelCache {key_of(cache)} is {phase} for ever"
        if weather.quota or weather.failing or self.agent.is_silent:
            return
        healthy = {it["metadata"]["name"] for it in self.store.all("Node") if is_healthy(it)}
        waiting = {key_of(it) for it in self.store.all("Pod") if it["spec"].get("nodeName") not in healthy}
        staying = (it for it in self.store.all("InferenceService") if "deletionTimestamp" not in it["metadata"])
        for service in staying:  # of those that leave, Metacontroller makes no more children
            phase, pods = service.get("status", {}).get("phase"), f"{key_of(service)}-"
            stuck = any(it.startswith(pods) for it in waiting)
            assert phase != "Starting" or stuck, f"InferenceService {key_of(service)} is starting for ever"

    def _ends(self) -> dict[Any, int]:
        return {resource: len(log) for resource, log in self.store.logs.items()}

    def _written_since(self, ends: dict[Any, int]) -> list[str]:
        return [
            f"{resource.kind} {key}" for resource, log in self.store.logs.items() for key, _ in log[ends[resource] :]
        ]


__all__ = ["OURS", "World", "key_of"]
