"""GPUs of pods that do not come are given back, others get them first, and nothing swings to and fro."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.gpupool.pool import GPU, NOW, Pool, gpu_node, request
from tools.sandbox.api import Object

NODES = [gpu_node(f"n{it}") for it in range(4)]
ELEVEN = timedelta(minutes=11)


def seen(pods: int = 0, **more: Any) -> Object:
    """What the agent tells of a service of which so many pods run, one GPU each."""
    found = [
        {"name": f"p{it}", "group": it, "worker": 0, "node": f"n{it // 8}", "gpus": 1, "resource": GPU}
        for it in range(pods)
    ]
    return {"pods": found, "groups": pods} | more


def greedy(status: Object | None, groups: int = 32, **spec: Any) -> Object:
    return request("a/greedy", 1, replicas={"min": groups, "max": groups}, status=status, priority=1000, **spec)


def granted(pool: Pool, status: Object, now: Any = NOW, **spec: Any) -> None:
    for _ in range(3):
        pool.sync(NODES, [greedy(status, **spec)], now)


def test_what_no_pod_comes_for_goes_to_others_after_ten_minutes_and_that_is_said() -> None:
    pool, status = Pool(), seen(1)
    granted(pool, status)
    other = request("b/other", 8)
    early = pool.sync(NODES, [greedy(status), other], NOW + timedelta(minutes=9))
    assert (early["b/other"], len(pool.hosts("a/greedy"))) == ("Pending", 32)
    for _ in range(3):
        phases = pool.sync(NODES, [greedy(status), other], NOW + ELEVEN)
    assert phases == {"a/greedy": "Bound", "b/other": "Bound"}
    assert pool.hosts("a/greedy") == ["n0"], "what runs stays"
    told = pool.allocations["a/greedy"]["givenBack"]
    assert (told["pods"], told["times"]) == (31, 1)
    assert "The GPUs of 31 pods were given back, because the pods did not come within 10 minutes" in told["message"]
    assert "ResourceQuota" in told["message"]


def test_pods_that_come_late_get_their_gpus_at_once() -> None:
    pool = Pool()
    granted(pool, seen(1))
    pool.sync(NODES, [greedy(seen(1))], NOW + ELEVEN)
    for _ in range(3):
        pool.sync(NODES, [greedy(seen(1, groups=4, unnumbered=3))], NOW + ELEVEN + timedelta(seconds=30))
    assert len(pool.hosts("a/greedy")) == 4


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(seen(1, groups=32, unnumbered=31), id="of a Deployment"),
        pytest.param(
            seen(1, groups=32, unbound=[{"group": it, "pods": 1} for it in range(1, 32)]), id="numbered by LWS"
        ),
    ],
)
def test_a_pod_that_exists_keeps_its_gpus_whatever_it_waits_for(status: Object) -> None:
    pool = Pool()
    granted(pool, status)
    granted(pool, status, NOW + timedelta(days=1))
    assert len(pool.hosts("a/greedy")) == 32
    assert "awaitingSince" not in pool.allocations["a/greedy"]


def test_without_the_agents_word_no_pod_counts_as_absent() -> None:
    pool = Pool()
    granted(pool, {})
    granted(pool, {}, NOW + timedelta(days=1))
    assert len(pool.hosts("a/greedy")) == 32


def test_an_edit_does_not_turn_the_clock_back() -> None:
    """Else an edit every nine minutes would hold the pool for ever."""
    pool = Pool()
    granted(pool, seen())
    for minutes, digest in ((4, "e"), (8, "f"), (11, "g")):
        granted(pool, seen(), NOW + timedelta(minutes=minutes), digest=digest)
    assert pool.allocations["a/greedy"].get("gpus", []) == []


def test_a_changed_request_that_waits_gives_back_what_the_earlier_one_holds() -> None:
    pool = Pool()
    granted(pool, seen(1))
    larger = greedy(seen(1), digest="d2", gpusPerNode=9)
    for minutes in (5, 11, 11, 11):
        phases = pool.sync(NODES, [larger, request("b/other", 8)], NOW + timedelta(minutes=minutes))
    assert phases["b/other"] == "Bound"
    assert pool.hosts("a/greedy") == ["n0"]


def test_tries_come_rarer_and_behind_everybody_else() -> None:
    """Over a day a service whose pods never come holds the pool for less than a tenth of the time."""
    pool, now, held = Pool(), NOW, 0
    for _ in range(24 * 30):
        pool.sync(NODES, [greedy(seen())], now)
        held += bool(pool.hosts("a/greedy"))
        now += timedelta(minutes=2)
    assert 0 < held < 24 * 30 / 10
    for _ in range(3):
        phases = pool.sync(NODES, [greedy(seen()), request("b/other", 8)], now)
    assert phases["b/other"] == "Bound"


def test_nothing_is_written_while_nothing_happens() -> None:
    pool = Pool()
    granted(pool, seen(1))
    pool.sync(NODES, [greedy(seen(1))], NOW + ELEVEN)
    before = dict(pool.allocations)
    for minutes in (12, 15, 20):
        pool.sync(NODES, [greedy(seen(1))], NOW + timedelta(minutes=minutes))
        assert pool.allocations == before


def test_what_was_given_back_is_forgotten_once_all_pods_run() -> None:
    pool = Pool()
    granted(pool, seen(1), groups=4)
    pool.sync(NODES, [greedy(seen(1), groups=4)], NOW + ELEVEN)
    assert "givenBack" in pool.allocations["a/greedy"]
    for _ in range(3):
        pool.sync(NODES, [greedy(seen(4), groups=4)], NOW + ELEVEN + ELEVEN)
    assert "givenBack" not in pool.allocations["a/greedy"]


def test_workers_that_a_quota_keeps_out_give_back_their_gpus_and_the_leader_stays() -> None:
    pool = Pool()
    leader = {"name": "p", "group": 0, "worker": 0, "node": "n0", "gpus": 8, "resource": GPU}
    wide = request("a/wide", 8, nodes=4, status={"pods": [leader], "groups": 1})
    for minutes in (0, 0, 0, 11):
        pool.sync(NODES, [wide], NOW + timedelta(minutes=minutes))
    assert pool.hosts("a/wide") == ["n0"] * 8
