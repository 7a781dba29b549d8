"""What a pool answers over several syncs: whose GPUs count, and what is said of a change that was taken back."""

from __future__ import annotations

from datetime import timedelta

from tests.gpupool.pool import GPU, NOW, Pool, gpu_node, pod, request

PARTITION = "amd.com/cpx_nps4"


def test_a_request_is_proposed_and_then_bound() -> None:
    pool = Pool()
    nodes, requests = [gpu_node("n1")], [request("team/a")]
    assert [pool.sync(nodes, requests)["team/a"] for _ in range(3)] == ["Proposed", "Bound", "Bound"]
    assert pool.hosts("team/a") == ["n1"] * 8
    assert (pool.status["free"], pool.status["allocated"]) == (0, 8)


def test_pods_of_a_namespace_that_is_not_admitted_any_more_hold_what_they_hold() -> None:
    used = {"namespace": "team", "name": "a", "gpus": 8, "resource": GPU}
    pool = Pool({"namespaceSelector": {"matchLabels": {"gpu": "yes"}}}, {"team": {}, "other": {"gpu": "yes"}})
    requests = [request("team/a", status={"groups": 1, "pods": [pod("n1")]}), request("other/b")]
    for _ in range(3):
        phases = pool.sync([gpu_node("n1", services=[used])], requests)
    assert phases == {"team/a": "Impossible", "other/b": "Pending"}
    assert pool.status["free"] == 0


def test_what_is_said_of_a_change_goes_when_the_change_is_taken_back() -> None:
    pool = Pool()
    nodes, original = [gpu_node("n1")], request("team/a")
    nodes.append(gpu_node("n2", resources=[{"name": GPU, "gpus": 0, "capacity": 16}]))
    for _ in range(2):
        pool.sync(nodes, [original])
    pool.sync(nodes, [request("team/a", 16, digest="d2")])
    assert pool.allocations["team/a"]["next"]["phase"] == "Pending"
    pool.sync(nodes, [original])
    assert "next" not in pool.allocations["team/a"]
    later = NOW + timedelta(hours=2)
    more = request("team/a", replicas={"min": 2, "max": 2})
    pool.sync(nodes, [more], later)
    assert pool.allocations["team/a"]["waitingSince"] == later.strftime("%Y-%m-%dT%H:%M:%SZ"), "it waits from now on"


def test_gpus_count_as_held_under_the_name_by_which_a_pod_holds_them() -> None:
    pool = Pool()
    nodes = [gpu_node("n1"), gpu_node("n2", resources=[{"name": PARTITION, "gpus": 16, "partition": "cpx_nps4"}])]
    status = {"groups": 1, "pods": [pod("n1")]}
    for _ in range(2):
        pool.sync(nodes, [request("team/a", status=status)])
    shapes = [{"product": "MI300X-CPX-NPS4", "tensor": 1, "pipeline": 1, "data": 1}]
    edited = request("team/a", digest="d2", resource=PARTITION, shapes=shapes, status=status)
    for _ in range(3):
        phases = pool.sync(nodes, [edited, request("other/b")])
    assert phases == {"team/a": "Bound", "other/b": "Pending"}
    assert (pool.hosts("team/a"), pool.allocations["team/a"]["resource"]) == (["n2"] * 8, PARTITION)
    by_resource = {it["resource"]: it["free"] for it in pool.status["products"]}
    assert by_resource == {GPU: 0, PARTITION: 8}


def test_a_pod_that_leaves_and_the_one_that_comes_instead_both_hold_gpus() -> None:
    pool = Pool()
    status = {"groups": 1, "pods": [pod("n1") | {"name": "old"}, pod("n2") | {"name": "new"}]}
    nodes = [gpu_node("n1"), gpu_node("n2"), gpu_node("n3")]
    for _ in range(2):
        pool.sync(nodes, [request("team/a", status=status)])
    assert pool.status["free"] == 8


def test_an_older_pool_keeps_its_nodes_while_another_field_of_it_cannot_be_read() -> None:
    """What it granted stands while its spec is refused, so its nodes are not another pool's to grant."""
    metadata = {"name": "older", "uid": "older", "creationTimestamp": "2025-01-01T00:00:00Z"}
    spec = {"nodeSelector": {"matchLabels": {"rack": "r1"}}, "reserveAfter": "soon"}
    pool = Pool(others=[{"metadata": metadata, "spec": spec}])
    nodes = [gpu_node("n1", labels={"rack": "r1"}), gpu_node("n2", labels={"rack": "r2"})]
    assert pool.sync(nodes, [request("team/a"), request("team/b")]) == {"team/a": "Proposed", "team/b": "Pending"}
    assert pool.hosts("team/a") == ["n2"] * 8


def test_who_waited_for_more_groups_and_wants_no_more_is_not_said_to_wait() -> None:
    pool, nodes = Pool(), [gpu_node("n1")]
    for _ in range(3):
        pool.sync(nodes, [request("team/a", 4, replicas={"min": 3, "max": 3})])
    assert (pool.allocations["team/a"]["placeInLine"], pool.status["pending"]) == (1, 1)
    for _ in range(2):
        pool.sync(nodes, [request("team/a", 4, replicas={"min": 2, "max": 2})])
        said = pool.allocations["team/a"]
        assert said.keys().isdisjoint({"placeInLine", "waitingSince"})
        assert (said["groups"], said["message"], pool.status["pending"]) == (2, "2 pods of 4 GPUs on n1.", 0)
