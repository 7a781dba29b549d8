"""However many services one namespace applies, a look stays within its bound, and every namespace is served."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest

from app.gpupool.line import MOST_ANSWERS, MOST_REQUESTS, REOPENED, find_full, find_share
from app.gpupool.sync import sync
from app.kube.names import LINE_LABEL
from app.metacontroller.protocol import SyncRequest
from app.serving.answer import Call
from app.serving.edge import Edge
from app.serving.workers import Workers
from app.settings import Settings
from tests.bench import tiny
from tests.bench.tiny import BATCH, CROWD, OTHERS, World
from tests.gpupool.pool import NOW, Pool, gpu_node, pod, request
from tools.sandbox.api import Object

LANE = Edge(Settings(), Workers(Settings())).pools
GPUS = 80


def crowded(waiting: int = MOST_REQUESTS + 600) -> World:
    """Ten nodes that the crowd has taken; as many of its services wait, and the pool has seen them."""
    world = World(tiny.build_nodes(10), tiny.build_template())
    world.apply(tiny.crowd(GPUS + waiting), whatever_is_said=True)
    for _ in range(3):
        world.sync()
    return world


def namespaces(world: World) -> Counter[str]:
    """Answers by namespace, less those that are of no service."""
    answers = (key for key, it in world.allocations.items() if LINE_LABEL not in it["metadata"]["labels"])
    return Counter(key.partition("/")[0] for key in answers)


def test_20_000_services_of_one_gpu_stay_below_the_body_limit_and_every_namespace_is_served() -> None:
    world = World(tiny.build_nodes(10), tiny.build_template("Qwen/Qwen3-8B"))
    largest = b""
    for _ in tiny.flood(world, tiny.SERVICES, batch=4 * BATCH):
        largest = max(largest, world.body, key=len)
    assert len(largest) < LANE.most_body
    workers = Workers(Settings())
    told = asyncio.run(workers.answer(Call("sync", "gpupool", tiny.NOW), largest))
    workers.stop()
    assert told.code == 200, "within the memory of a worker"
    assert len(world.requests) + len(world.held_back) == tiny.SERVICES + len(OTHERS)
    assert world.full() == {CROWD}
    answers = namespaces(world)
    assert all(answers[it] == 1 for it in OTHERS), "one service each, and each knows what it waits for"
    assert answers.total() == GPUS + MOST_ANSWERS
    assert world.granted() == dict.fromkeys(world.nodes, 8)
    before = world.allocations
    world.sync()
    assert world.allocations == before, "it has settled"
    assert world.parent["status"]["unanswered"] == len(world.requests) - answers.total()


def test_who_holds_gpus_keeps_its_allocation_whoever_else_waits() -> None:
    world = crowded(0)
    before = dict(world.allocations)
    assert {it["spec"]["phase"] for it in before.values()} == {"Bound"}
    world.apply([f"a-crowd/s{it:04}" for it in range(2 * MOST_ANSWERS)], whatever_is_said=True)
    for _ in range(2):
        world.sync()
        assert {key: world.allocations[key] for key in before} == before


def test_a_service_without_an_answer_gets_gpus_that_are_free_for_it() -> None:
    world = crowded(2 * MOST_ANSWERS)
    last = f"{CROWD}/s{GPUS + 2 * MOST_ANSWERS - 1:05}"
    assert last not in world.allocations
    world.requests = {key: it for key, it in world.requests.items() if key == last or key in world.allocations}
    world.nodes = {**world.nodes, **tiny.build_nodes(200)}
    for _ in range(2):
        world.sync()
    assert world.allocations[last]["spec"]["phase"] == "Bound"


def test_a_full_line_opens_once_it_is_short_again_and_not_before() -> None:
    world = crowded()
    world.apply([f"{CROWD}/late"])
    assert world.held_back == [f"{CROWD}/late"]
    notice = world.allocations[next(key for key in world.allocations if "line" in key)]
    waiting = [key for key in sorted(world.requests) if key not in world.allocations]
    for key in waiting[:1000]:
        del world.requests[key]
    world.sync()
    assert notice in world.allocations.values(), "the same bytes, so it wakes nobody"
    for key in waiting[1000:1700]:
        del world.requests[key]
    world.sync()
    world.ask_again()
    assert not world.full()
    assert f"{CROWD}/late" in world.requests


def test_a_full_line_of_one_namespace_keeps_nobody_else_from_asking() -> None:
    world = crowded()
    world.apply(["team-00/only"])
    world.sync()
    assert world.allocations["team-00/only"]["spec"]["phase"] == "Pending"


def test_requests_of_other_pools_and_of_none_count_too() -> None:
    """They are in every pool's look."""
    pool = Pool()
    nowhere = [request(f"a/s{it:05}", 1, pool="no-such-pool") for it in range(MOST_REQUESTS + 1)]
    pool.sync([gpu_node("n1")], nowhere)
    assert [key.partition("/")[0] for key in pool.allocations] == ["a"]
    assert "Too many services of namespace a wait" in next(iter(pool.allocations.values()))["message"]


def test_what_runs_is_not_counted() -> None:
    pool = Pool()
    running = [request(f"a/s{it:05}", 1, status={"pods": [pod("n1", 1)]}) for it in range(MOST_REQUESTS + 1)]
    pool.sync([gpu_node("n1")], running)
    assert all(key.startswith("a/s") for key in pool.allocations)


def few(monkeypatch: pytest.MonkeyPatch, answers: int) -> None:
    monkeypatch.setattr("app.gpupool.line.MOST_ANSWERS", answers)


def waiting(*keys: str, priority: int = 0) -> list[Object]:
    return [request(key, 8, priority=priority) for key in keys]


def answered(pool: Pool, requests: Iterable[Object]) -> list[str]:
    held = request("z/holder", 8, priority=1000)
    for _ in range(3):
        pool.sync([gpu_node("n1")], [held, *requests])
    return sorted(pool.allocations.keys() - {"z/holder"})


def test_namespaces_take_turns_and_within_one_the_line_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 4)
    crowd = waiting(*(f"a/s{it}" for it in range(9))) + waiting("a/urgent", priority=5)
    assert answered(Pool(), crowd + waiting("b/one", "c/one")) == ["a/s0", "a/urgent", "b/one", "c/one"]


def test_the_first_service_of_every_namespace_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 2)
    found = answered(Pool(), waiting("a/s0", "a/s1", "b/s0", "c/s0", "d/s0"))
    assert found == ["a/s0", "b/s0", "c/s0", "d/s0"]


def test_services_that_cannot_be_served_take_no_more_than_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 3)
    impossible = [request(f"a/s{it}", 64) for it in range(9)]
    unreadable = [request(f"b/s{it}", 1, nodes=0) for it in range(9)]
    assert answered(Pool(), impossible + unreadable + waiting("c/one")) == ["a/s0", "b/s0", "c/one"]


def test_an_allocation_that_remembers_when_it_is_tried_again_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 1)
    pool = Pool()
    given_back = {"pods": 1, "at": "2026-01-01T00:59:00Z", "times": 3}
    spec = {"pool": "default", "digest": "d", "phase": "Pending", "givenBack": given_back}
    pool.allocations = {"a/s9": spec}
    assert answered(pool, waiting("a/s0", "a/s9")) == ["a/s9"]


def test_a_service_that_somebody_asks_about_is_answered_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `kubectl inference plan` does."""
    few(monkeypatch, 1)
    parent = {"metadata": {"name": "default", "uid": "pool"}, "spec": {}}
    requests = {f"a/s{it}": it for it in range(9)}
    related = {tiny.REQUEST: {key: request(key, 8) for key in requests}}
    asked = SyncRequest.model_validate({"parent": parent, "children": {}, "related": related})
    found = sync(asked, Settings(), NOW, "a/s7").children
    assert [it["metadata"]["name"] for it in found] == ["s0", "s7"]


@pytest.mark.parametrize(
    ("counts", "most", "share"),
    [([], 10, 0), ([3, 3], 10, 3), ([11], 10, 10), ([1, 1, 100], 10, 8), ([4, 9, 9], 13, 4), ([5, 100, 100], 25, 10)],
)
def test_who_asks_for_least_is_cut_last(counts: list[int], most: int, share: int) -> None:
    assert find_share(counts, most) == share


def test_a_namespace_stays_full_until_a_fifth_of_its_share_is_free() -> None:
    least = int(MOST_REQUESTS * REOPENED)
    assert not find_full({"a": MOST_REQUESTS}, set())
    assert find_full({"a": MOST_REQUESTS + 1, "b": 1}, set()) == {"a"}
    assert find_full({"a": least + 1}, {"a"}) == {"a"}
    assert not find_full({"a": least}, {"a"})
