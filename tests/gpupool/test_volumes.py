"""Services that read one ReadWriteOnce claim go to one node, also when they come in the same look."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpupool.pool import GPU, Pool, gpu_node, pod, request
from tools.sandbox.api import Object

NODES = [gpu_node("n1"), gpu_node("n2"), gpu_node("n3")]
CLAIM = "m-cache"


def reader(key: str, gpus: int, **fields: Any) -> Object:
    return request(key, gpus, **{"claim": CLAIM} | fields)


def settled(pool: Pool, nodes: list[Object], requests: list[Object]) -> dict[str, str]:
    for _ in range(3):
        phases = pool.sync(nodes, requests)
    return phases


def hosts(pool: Pool, *keys: str) -> set[str]:
    return {host for key in keys for host in pool.hosts(key)}


@pytest.mark.parametrize("gpus", [(4, 4), (1, 7), (7, 1), (2, 3)])
def test_two_that_come_together_share_a_node(gpus: tuple[int, int]) -> None:
    pool = Pool()
    asked = [reader("ns/a", gpus[0]), reader("ns/b", gpus[1])]
    assert set(settled(pool, NODES, asked).values()) == {"Bound"}
    assert len(hosts(pool, "ns/a", "ns/b")) == 1


def test_the_first_one_goes_where_both_find_room() -> None:
    """Else it would take the fullest node that holds it alone."""
    nodes = [gpu_node("n1", others=6), gpu_node("n2", others=2)]
    pool = Pool()
    assert set(settled(pool, nodes, [reader("ns/a", 2), reader("ns/b", 4)]).values()) == {"Bound"}
    assert hosts(pool, "ns/a", "ns/b") == {"n2"}
    alone = Pool()
    settled(alone, nodes, [reader("ns/a", 2)])
    assert hosts(alone, "ns/a") == {"n1"}


def test_who_finds_no_room_on_that_node_waits_and_is_told_why_and_what_to_do() -> None:
    """cases/05: two of eight GPUs on nodes of eight."""
    pool = Pool()
    assert settled(pool, NODES, [reader("ns/a", 8), reader("ns/b", 8)]) == {"ns/a": "Bound", "ns/b": "Pending"}
    message = pool.allocations["ns/b"]["message"]
    [node] = hosts(pool, "ns/a")
    assert f"m-cache is ReadWriteOnce, and service a has its place on node {node}: no other node will do" in message
    assert "accessMode ReadWriteMany or caching.replicas 2" in message
    assert "ReadWriteOnce" not in pool.allocations["ns/a"]["message"]


def test_it_starts_on_any_node_once_the_other_is_gone() -> None:
    pool = Pool()
    settled(pool, NODES, [reader("ns/a", 8), reader("ns/b", 8)])
    assert settled(pool, NODES, [reader("ns/b", 8)]) == {"ns/b": "Bound"}


def test_claims_of_other_namespaces_and_of_other_names_bind_nobody() -> None:
    pool = Pool()
    asked = [reader("ns/a", 8), reader("other/b", 8), reader("ns/c", 8, claim="m-cache-1")]
    assert set(settled(pool, NODES, asked).values()) == {"Bound"}


def test_who_comes_later_goes_to_the_node_where_the_other_runs_wherever_that_is() -> None:
    """The kube-scheduler may have chosen another node than the pool."""
    pool = Pool()
    settled(pool, NODES, [reader("ns/a", 4)])
    used = [{"namespace": "ns", "name": "a", "gpus": 4, "resource": GPU}]
    nodes = [gpu_node("n1"), gpu_node("n2"), gpu_node("n3", services=used)]
    running = reader("ns/a", 4, status={"pods": [pod("n3", 4)], "groups": 1})
    assert settled(pool, nodes, [running, reader("ns/b", 4)]) == {"ns/a": "Bound", "ns/b": "Bound"}
    assert hosts(pool, "ns/b") == {"n3"}


def test_a_place_elsewhere_is_given_up_unless_a_pod_runs_there() -> None:
    """As two services have that an earlier version granted, or that learn of their claim later."""
    pool = Pool()
    settled(pool, NODES, [request("ns/a", 8), request("ns/b", 6)])
    assert len(hosts(pool, "ns/a", "ns/b")) == 2
    before = dict(pool.allocations)
    asked = [reader("ns/a", 8), reader("ns/b", 6)]
    assert settled(pool, NODES, asked) == {"ns/a": "Bound", "ns/b": "Pending"}
    assert pool.allocations["ns/a"] == before["ns/a"]
    pool.allocations = dict(before)
    both = [
        reader(key, gpus, status={"pods": [pod(pool.hosts(key)[0], gpus)], "groups": 1})
        for key, gpus in (("ns/a", 8), ("ns/b", 6))
    ]
    assert settled(pool, NODES, both) == {"ns/a": "Bound", "ns/b": "Bound"}
    assert pool.allocations == before


def test_a_reader_holds_no_other_node_back() -> None:
    pool = Pool({"reserveAfter": "0s"})
    assert settled(pool, NODES[:2], [reader("ns/a", 8), reader("ns/b", 8)])["ns/b"] == "Pending"
    late = request("other/late", 8)
    late["metadata"]["creationTimestamp"] = "2026-01-01T00:30:00Z"
    phases = settled(pool, NODES[:2], [reader("ns/a", 8), reader("ns/b", 8), late])
    assert phases["other/late"] == "Bound"


def test_readers_that_wait_make_nobody_else_hopeless() -> None:
    pool = Pool()
    asked = [reader("ns/a", 8), *(reader(f"ns/b{it}", 2) for it in range(3)), request("ns/z", 8)]
    phases = settled(pool, NODES, asked)
    assert (phases["ns/a"], phases["ns/z"]) == ("Bound", "Bound")
