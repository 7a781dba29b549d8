"""Whatever order and repetition watch events come in, the same is written, and a second pass writes nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.agent.io.resources import build_path
from app.agent.io.session import decide
from app.agent.patch import Patch, Target
from app.agent.snapshot import (
    Snapshot,
    parse_allocation,
    parse_gpu_node,
    parse_node,
    parse_pod,
    parse_pool,
    parse_request,
)
from app.agent.store import Store
from tests.agent.build import GPU, Json, allocation, gated, gpu_node, grouped, node, pod, pool, request, single

Event = tuple[str, str, Json]
"""Kind of the object, type of the event, object."""


class Stores:
    """One store a kind, and the snapshot that they make."""

    def __init__(self) -> None:
        self.by_kind: dict[str, Store[Any]] = {
            "pods": Store(partial(parse_pod, gpu_resource=GPU)),
            "nodes": Store(parse_node),
            "gpu_nodes": Store(parse_gpu_node),
            "requests": Store(parse_request),
            "allocations": Store(parse_allocation),
            "pools": Store(parse_pool),
        }

    def snapshot(self) -> Snapshot:
        facts: dict[str, Any] = {kind: store.objects for kind, store in self.by_kind.items()}
        return Snapshot(**facts)


KINDS = {
    Target.UNGATE: "pods",
    Target.GPU_NODE: "gpu_nodes",
    Target.GPU_REQUEST: "requests",
    Target.HEARTBEAT: "pools",
}
PLACES = {(group, worker): f"n{group * 2 + worker}" for group in range(2) for worker in range(2)}


def versioned(item: Json, version: int) -> Json:
    return {**item, "metadata": item["metadata"] | {"resourceVersion": str(version)}}


def bound(item: Json, to: str) -> Json:
    return {**item, "spec": item["spec"] | {"nodeName": to}}


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """The lives of a small cluster's objects, each in its order, mixed at will and with repetitions."""
    lives: list[list[Event]] = [
        *([("nodes", "ADDED", node(f"n{index}"))] for index in range(4)),
        *([("gpu_nodes", "ADDED", gpu_node(f"n{index}"))] for index in range(4)),
        [("pools", "ADDED", pool())],
        [("requests", "ADDED", request())],
        [
            ("allocations", "ADDED", versioned(allocation(PLACES, phase="Proposed"), 11)),
            ("allocations", "MODIFIED", versioned(allocation(PLACES), 12)),
        ],
    ]
    for group, worker in PLACES:
        item = grouped(group, worker)
        gone = draw(st.booleans())
        lives.append([("pods", "ADDED", versioned(gated(item), 20)), *([("pods", "DELETED", item)] if gone else [])])
    for index in range(draw(st.integers(0, 4))):
        item = draw(st.sampled_from([pod, single]))(f"other-{index}")
        states = [item, bound(item, f"n{draw(st.integers(0, 3))}")]
        life: list[Event] = [("pods", "MODIFIED", versioned(state, 30 + at)) for at, state in enumerate(states)]
        lives.append(life + ([("pods", "DELETED", states[-1])] if draw(st.booleans()) else []))
    return _mixed(draw, lives)


def _mixed(draw: st.DrawFn, lives: Sequence[list[Event]]) -> list[Event]:
    """Events of one object stay in order, as a watch promises; any may be told again as long as it is not outdated."""
    turns = draw(st.permutations([at for at, life in enumerate(lives) for _ in life]))
    left = [list(life) for life in lives]
    told: list[Event] = []
    for turn in turns:
        event = left[turn].pop(0)
        told += [event] * draw(st.integers(1, 2))
        if event[1] != "DELETED" and draw(st.booleans()):
            told.append(lives[turn][0])  # an older state comes late
    return told


def take(stores: Stores, events: Sequence[Event]) -> None:
    for kind, event, item in events:
        stores.by_kind[kind].apply(event, item)


def final(events: Sequence[Event]) -> Stores:
    """What a list would tell in the end: the newest state of what is still there."""
    newest: dict[tuple[str, str], Json] = {}
    for kind, event, item in events:
        key = (kind, item["metadata"]["name"])
        if event == "DELETED":
            newest.pop(key, None)
        elif key not in newest or _version(item) >= _version(newest[key]):
            newest[key] = item
    stores = Stores()
    for kind, store in stores.by_kind.items():
        parsed = (store.parse(item) for (of, _), item in newest.items() if of == kind)
        store.replace([fact for fact in parsed if fact])
    return stores


def _version(item: Json) -> int:
    return int(item["metadata"]["resourceVersion"])


@given(history=histories())
@settings(max_examples=300, deadline=None)
def test_a_watch_in_any_order_and_a_list_lead_to_the_same_writes(history: list[Event]) -> None:
    untouched = copy.deepcopy(history)
    watched = Stores()
    take(watched, history)
    assert decide(watched.snapshot()) == decide(final(history).snapshot())
    assert history == untouched


@given(history=histories())
@settings(max_examples=200, deadline=None)
def test_a_second_pass_writes_nothing(history: list[Event]) -> None:
    stores = final(history)
    objects: dict[str, Json] = {}
    for kind, event, item in history:
        if event != "DELETED":
            objects[f"{kind}/{item['metadata']['name']}"] = item
    for patch in decide(stores.snapshot()):
        kind = KINDS[patch.target]
        changed = patched(objects[f"{kind}/{patch.key[1]}"], patch)
        stores.by_kind[kind].learn(changed)
    assert decide(stores.snapshot()) == []


def patched(item: Json, patch: Patch) -> Json:
    """What the API server would make of it."""
    item = copy.deepcopy(item)
    item["metadata"]["resourceVersion"] = "1000"
    if patch.target is not Target.UNGATE:
        item["status"] = {**item.get("status", {}), **patch.body["status"]}
        return item
    for operation in patch.body:
        if operation["op"] == "add":
            _add(item, [step.replace("~1", "/") for step in operation["path"].split("/")[1:]], operation["value"])
    del item["spec"]["schedulingGates"]
    return item


def _add(item: Json, path: Sequence[str], value: object) -> None:
    for step in path[:-1]:
        item = item[step]
    item[path[-1]] = value


def test_an_older_state_of_an_object_is_left_aside_but_a_new_object_of_that_name_is_not() -> None:
    store = Store(parse_node)
    assert store.apply("ADDED", versioned(node("n1", "new"), 5))
    assert not store.apply("MODIFIED", versioned(node("n1", "old"), 4))
    reborn = versioned(node("n1", "reborn"), 3)
    reborn["metadata"]["uid"] = "another"
    assert store.apply("ADDED", reborn)


def test_a_change_that_matters_not_wakes_nobody() -> None:
    store = Store(parse_gpu_node)
    assert store.apply("ADDED", gpu_node("n1"))
    assert not store.apply("MODIFIED", versioned(gpu_node("n1", taints=[{"key": "a", "effect": "NoSchedule"}]), 11))
    assert store.objects["", "n1"].version == 11


def test_pods_without_gpus_and_service_leave_nothing() -> None:
    store = Store(partial(parse_pod, gpu_resource=GPU))
    assert not store.apply("ADDED", pod("web", gpus=0, node="n1"))
    assert store.apply("ADDED", pod("job", node="n1"))
    assert store.apply("MODIFIED", versioned(pod("job", node="n1", phase="Failed"), 11))
    assert store.objects == {}


def test_an_answer_to_a_write_brings_no_object_back() -> None:
    store = Store(parse_node)
    assert not store.learn(node("n1"))
    store.apply("ADDED", node("n1"))
    store.apply("DELETED", node("n1"))
    assert not store.learn(versioned(node("n1"), 11))


def test_every_target_has_a_path() -> None:
    assert {build_path(target, ("team", "x")) for target in Target} == {
        "/api/v1/namespaces/team/pods/x",
        "/apis/inference.ai/v1alpha1/gpunodes/x/status",
        "/apis/inference.ai/v1alpha1/namespaces/team/gpurequests/x/status",
        "/apis/inference.ai/v1alpha1/namespaces/team/gpuallocations/x/status",
        "/apis/inference.ai/v1alpha1/gpupools/x",
        "/apis/batch/v1/namespaces/team/jobs/x",
    }
