"""The net holds: each fault that is made in the operator on purpose breaks what must hold, and says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from app.gpupool.observe import Observed, observe
from app.inferenceservice.children.disruption_budget import build_budget
from app.inferenceservice.observe import _workload
from app.kube.conditions import Condition, format_time
from app.modelcache.children.claims import build_claims
from app.modelcache.completion import Completion, find_completion
from app.modelcache.facts import Facts
from app.modelcache.plan import Plan
from app.policy import Chain
from app.settings import Settings
from tests.net.truths import CHECKS
from tests.net.world import World
from tools.sandbox.api import Object

Story = Callable[[World], None]


def service(name: str, gpus: int = 2, **parts: Any) -> Object:
    resources = {"totalGpus": gpus, "cpuRequest": "1"} | parts.pop("resources", {})
    return {"model": {"name": "org/m"}, "resources": resources, **parts}


def serve(world: World, *keys: str, gpus: int = 2, **parts: Any) -> None:
    world.make("GPUPool", "default", spec={})
    for key in keys:
        world.make("InferenceService", key, spec=service(key, gpus, **parts))


def a_service_runs(world: World) -> None:
    serve(world, "red/a")
    world.make("InferenceEndpoint", "red/e", spec={"service": "a"})
    world.settle()


def it_is_upgraded(world: World) -> None:
    a_service_runs(world)
    world.hooks.settings = Settings(leader_image="newer:v2")
    world.settle()


def its_cache_is_deleted(world: World) -> None:
    world.make("ModelCache", "red/w", spec={"modelName": "org/m"})
    serve(world, "red/a", storage={"modelCache": "w"})
    world.settle()
    world.delete("ModelCache", "red/w")
    world.settle()
    world.edit("InferenceService", "red/a", spec={"storage": {"modelCache": "other"}})
    world.settle()


def two_pools_have_the_same_node(world: World) -> None:
    world.make("GPUPool", "default", spec={})
    world.store.pass_time(1)
    world.make("GPUPool", "spare", spec={})
    for key, pool in (("red/a", "default"), ("red/b", "spare")):
        world.make("InferenceService", key, spec=service(key, 8, resources={"pool": pool}))
    for _ in range(8):
        world.store.pass_time(1)
        world.sync_all()
        world.report()


def one_wants_whole_nodes(world: World) -> None:
    serve(world, "red/a", gpus=2, resources={"sharing": "exclusive"})
    world.settle()
    world.make("InferenceService", "red/b", spec=service("red/b", 2, resources={"strategy": "topology-aware"}))
    world.settle()


def downloads_hang(world: World) -> None:
    world.machinery.weather.jobs = "held"
    world.make("ModelCache", "red/w", spec={"modelName": "org/m"})
    world.settle()


def pods_crash(world: World) -> None:
    world.machinery.weather.failing = {"red/a"}
    a_service_runs(world)


def downloads_end(world: World) -> None:
    world.make("ModelCache", "red/w", spec={"modelName": "org/m"})
    world.settle()


STORIES: tuple[Story, ...] = (
    a_service_runs, it_is_upgraded, its_cache_is_deleted, two_pools_have_the_same_node, one_wants_whole_nodes,
    downloads_hang, downloads_end, pods_crash,
)  # fmt: skip


@pytest.mark.parametrize("story", STORIES, ids=lambda it: it.__name__)
def test_the_stories_are_told_without_a_fault(story: Story) -> None:
    story(World(nodes=1))


def _fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("on purpose")


def _moving_time(condition: Condition, before: Any, now: datetime) -> dict[str, str]:
    told = {"reason": condition.reason.value, "message": condition.message, "lastTransitionTime": format_time(now)}
    return {"type": condition.type, "status": condition.status.value} | told


def _all_ready(*arguments: Any) -> Any:
    found = _workload(*arguments)
    return replace(found, ready=found.asked)


def _sharing(*arguments: Any) -> Observed:
    seen = observe(*arguments)
    held = {key: replace(it, exclusive=False) for key, it in seen.existing.items()}
    return replace(
        seen, placement_requests=tuple(replace(it, exclusive=False) for it in seen.placement_requests), existing=held
    )


def _claims_until_filled(facts: Facts, plan: Plan) -> list[Object]:
    return [] if plan.complete else build_claims(facts, plan)


def _complete(*arguments: Any) -> Completion:
    return replace(find_completion(*arguments), complete=True, readable=True)


def _unknown_field(facts: Any) -> Any:
    budget = build_budget(facts)
    return budget | {"spec": budget["spec"] | {"noSuchField": True}}


FAULTS: dict[str, tuple[Story, str, Any, str]] = {
    "an error": (a_service_runs, "app.inferenceservice.status.find_phase", _fail, "answered 500"),
    "times that move": (a_service_runs, "app.kube.conditions._with_time", _moving_time, "there is no rest"),
    "an upgrade that restarts": (
        it_is_upgraded, "app.inferenceservice.plan._still_wanted", lambda *_: False, "restarted without a reason",
    ),
    "a workload dropped while something is waited for": (
        its_cache_is_deleted, "app.inferenceservice.children.running_workloads", lambda *_: [], "nobody asked for it",
    ),
    "a claim dropped": (downloads_end, "app.modelcache.children.build_claims", _claims_until_filled, "was deleted"),
    "two pools that take the same node": (
        two_pools_have_the_same_node, "app.gpupool.observe._other_pools", lambda _: iter(()), "nodes are said",
    ),
    "whole nodes that are shared": (
        one_wants_whole_nodes, "app.gpupool.sync:observe", _sharing, "alone, and to",
    ),
    "groups that are not ready": (
        pods_crash, "app.inferenceservice.observe._workload", _all_ready, "are said to be ready",
    ),
    "a model that is not there": (
        downloads_hang, "app.modelcache.facts.find_completion", _complete, "Ready is True",
    ),
    "an endpoint that nobody answers": (
        pods_crash, "app.inferenceendpoint.plan.BLOCKERS", Chain(), "Available is True",
    ),
    "GPUs counted wrong": (a_service_runs, "app.gpupool.status._granted", lambda *_: 7, "said to be allocated"),
    "a status field that no schema has": (
        a_service_runs, "app.inferenceendpoint.status._entry", lambda _: {"name": "http", "weight": 1},
        "the status of a InferenceEndpoint does not fit",
    ),
    "a field of a child that no schema has": (
        a_service_runs, "app.inferenceservice.children._ALWAYS", (_unknown_field,), "does not fit its schema",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    story, where, fault, said = FAULTS[name]
    module, _, attribute = where.partition(":")
    if attribute:
        monkeypatch.setattr(sys.modules[module], attribute, fault)  # its package has a function of that name
    else:
        monkeypatch.setattr(where, fault)
    with pytest.raises(AssertionError, match=said):
        story(World(nodes=1))


def test_gpus_that_two_pools_promise_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what the pools say of themselves is not looked at."""
    monkeypatch.setattr("app.gpupool.observe._other_pools", lambda _: iter(()))
    monkeypatch.setitem(CHECKS, "gpupool", lambda *_: None)
    with pytest.raises(AssertionError, match="has 8 GPUs, promised are"):
        two_pools_have_the_same_node(World(nodes=1))
