"""Quotas of tenants: nobody gets past one, and nobody waits for leave, or for GPUs, who has both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scheduling.nodes import Node, NodeRequirements
from app.scheduling.quota import Quota
from app.scheduling.request import BoundPod, Decision, ExistingAllocation, Outcome, PlacementRequest
from app.scheduling.scheduler import Schedule, schedule
from tests.scheduling.pool import PATIENCE, decide, held_at, hosts, need, node

GPU = "amd.com/gpu"
Slots = Mapping[tuple[int, int], str]


def alone(name: str = "a", gpus: int = 1, **fields: Any) -> PlacementRequest:
    return need(name, gpus, exclusive=True, **fields)


def on(*products: str) -> NodeRequirements:
    return NodeRequirements(GPU, products)


def test_a_small_service_gets_a_small_host_whoever_asked_before() -> None:
    found = decide([node("n1", 4), node("n2", 8)], alone("a", 8, quota=4), alone("b", 1, quota=4))
    assert hosts(found["b"]) == ["n1"]
    assert found["a"].lacks_quota


@pytest.mark.parametrize("runs", [True, False], ids=["that runs", "that does not run yet"])
def test_a_changed_service_that_stays_on_its_host_pays_for_a_second_one(runs: bool) -> None:
    """Its host counts as given up for itself only until it takes it again."""
    pods = (BoundPod(0, 0, "n1", 4, GPU),) if runs else ()
    changed = alone("a", 8, digest="2", max_replicas=2, existing_replicas=2, quota=8, bound_pods=pods)
    held = {"ns/a": held_at({(0, 0): "n1"}, 4, digest="1", exclusive=True)}
    found = schedule([node("n1"), node("n2")], [changed], held, PATIENCE)
    assert hosts(found.decisions["ns/a"]) == ["n1"]
    assert found.used == {"ns": 8}


def test_who_asks_for_whole_nodes_closes_none_before_it_is_granted_any() -> None:
    """Else eight services of one GPU each close eight nodes with a limit of eight GPUs."""
    nodes = [node(f"n{it}") for it in range(4)]
    held = {f"ns/s{it}": held_at({(0, 0): f"n{it}"}, 1, digest="1") for it in range(4)}
    wishing = [alone(f"s{it}", digest="2", quota=4, bound_pods=(BoundPod(0, 0, f"n{it}", 1, GPU),)) for it in range(4)]
    others = [replace(need(f"t{it}", 7), service=f"other/t{it}") for it in range(4)]
    found = schedule(nodes, [*wishing, *others], held, PATIENCE)
    assert sorted(found.decisions[it.service].hosts[0, 0] for it in others) == ["n0", "n1", "n2", "n3"]
    assert found.used == {"ns": 4, "other": 28}


def test_who_gives_whole_nodes_back_has_them_until_that_is_decided() -> None:
    """Its pods that run let nobody join, and what it holds is its own to take again."""
    shared = need("a", 8, digest="2", quota=8, bound_pods=(BoundPod(0, 0, "n1", 1, GPU),))
    late = replace(need("z", 1), service="other/z")
    held = {"ns/a": held_at({(0, 0): "n1"}, 1, digest="1", exclusive=True)}
    found = schedule([node("n1"), node("n2", unmanaged_usage=8)], [shared, late], held, PATIENCE)
    assert (hosts(found.decisions["ns/a"]), hosts(found.decisions["other/z"])) == (["n1"], [])


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_changed_service_whose_new_nodes_are_full_waits_for_gpus(exclusive: bool) -> None:
    """What it holds of its limit is its own: it is in line, and has nodes held back once it has waited long."""
    changed = need(
        "a",
        8,
        digest="2",
        quota=8,
        requirements=on("MI325X"),
        exclusive=exclusive,
        bound_pods=(BoundPod(0, 0, "n1", 8, GPU),),
    )
    nodes = [node("n1"), node("n2", product="MI325X", unmanaged_usage=8)]
    [found] = decide(
        nodes, changed, held={"ns/a": held_at({(0, 0): "n1"}, 8, digest="1", exclusive=exclusive)}
    ).values()
    assert (found.outcome, found.lacks_quota, found.place_in_line) == (Outcome.PENDING, False, 1)


def test_a_free_host_past_the_limit_keeps_nobody_from_a_busy_one_below_it() -> None:
    """It waits for that one, which is held back for it; the larger one is not."""
    nodes = [node("n1", 16, product="A"), node("n2", 8, product="B")]
    waits = alone("a", quota=8, requirements=on("A", "B"), waiting_seconds=PATIENCE, priority=1)
    runs = need("b", 4, requirements=on("B"), bound_pods=(BoundPod(0, 0, "n2", 4, GPU),))
    others = [
        replace(it, service=f"other/{it.creation_timestamp}")
        for it in (runs, need("c", requirements=on("B")), need("d", 16))
    ]
    found = decide(nodes, waits, *others, held={"other/b": held_at({(0, 0): "n2"}, 4)})
    assert not found["a"].lacks_quota
    assert {key: hosts(it) for key, it in found.items()} == {"a": [], "b": ["n2"], "c": [], "d": ["n1"]}


def test_a_group_goes_to_cheaper_hosts_where_the_nearest_ones_are_past_the_limit() -> None:
    zones = {"n1": 1, "n2": 2, "n3": 1, "n4": 1}
    nodes = [node(name, 4 if name < "n3" else 8, domains=(f"z{zone}",)) for name, zone in zones.items()]
    assert sorted(hosts(decide(nodes, alone("a", 4, pods=2, one_pod_per_node=True, quota=8))["a"])) == ["n1", "n2"]


def test_the_product_is_one_that_the_limit_reaches_for() -> None:
    nodes = [node("n1", 16, product="A"), node("n2", 8, product="B")]
    assert hosts(
        decide(nodes, alone("a", 4, min_replicas=2, max_replicas=2, quota=8, requirements=on("A", "B")))["a"]
    ) == ["n2", "n2"]


def test_what_one_tenant_may_not_have_another_one_gets() -> None:
    found = schedule(
        [node("n1", 4, unmanaged_usage=4), node("n2")],
        [alone("a", quota=4), replace(alone("b"), service="other/b")],
        {},
        PATIENCE,
    )
    assert hosts(found.decisions["other/b"]) == ["n2"]
    assert not found.decisions["ns/a"].lacks_quota


def test_what_gave_way_does_not_come_back_past_the_limit() -> None:
    """Groups beyond a guarantee give way to a service of the same namespace, and both together are too much."""
    running = BoundPod(0, 0, "n1", 1, GPU)
    generous = need("b", max_replicas=2, existing_replicas=2, quota=6, bound_pods=(running,), requirements=on("MI300X"))
    waits = alone("a", quota=6, requirements=on("A"))
    nodes = [node("n1"), node("n2", 5, product="A"), node("n3", 4, product="A", unmanaged_usage=4)]
    found = schedule(nodes, [waits, generous], {"ns/b": held_at({(0, 0): "n1", (1, 0): "n1"}, 1)}, PATIENCE)
    assert (hosts(found.decisions["ns/a"]), hosts(found.decisions["ns/b"])) == (["n2"], ["n1"])
    assert found.used == {"ns": 6}


def test_who_lacks_quota_for_whole_nodes_is_told_that_they_count() -> None:
    [found] = decide([node("n1")], alone("a", quota=4)).values()
    assert "a group needs 1 GPU on one node that nobody else uses, and all GPUs of such a node count." in found.message
    assert "Set resources.sharing to shared, scale down or delete a service" in found.message


def test_the_cost_of_very_many_groups_is_counted_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Own hosts are looked through only where the quota ends, else each group would cost all those before it."""
    calls = 0
    original = Quota._beside_own

    def counted(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        return original(*arguments)

    monkeypatch.setattr(Quota, "_beside_own", counted)
    nodes = [node(f"n{it:03}") for it in range(100)]
    found = schedule(nodes, [alone("a", min_replicas=800, max_replicas=800, quota=799)], {}, PATIENCE)
    assert found.used == {"ns": 792}
    assert calls < 20


_nodes = st.lists(
    st.builds(
        Node,
        host=st.integers(0, 30).map("n{}".format),
        resource=st.just(GPU),
        product=st.sampled_from(["A", "B"]),
        gpus=st.sampled_from([2, 4, 8]),
        domains=st.sampled_from([(), ("z1", "z1/r1"), ("z1", "z1/r2"), ("z2", "z2/r1")]),
        unmanaged_usage=st.sampled_from([0, 0, 0, 1]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda it: it.host,
)
_asked = st.fixed_dictionaries(
    {
        "gpus_per_node": st.sampled_from([1, 1, 2, 4, 8]),
        "nodes": st.integers(1, 3),
        "min_replicas": st.integers(1, 2),
        "existing_replicas": st.integers(0, 3),
        "exclusive": st.booleans(),
        "one_pod_per_node": st.booleans(),
        "requirements": st.sampled_from([on(), on("A"), on("B", "A")]),
    }
)
_rounds = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["a/1", "a/2", "a/3", "b/1", "b/2"]), _asked, max_size=5),
        st.sampled_from(["all run", "one runs", "none runs"]),
    ),
    min_size=1,
    max_size=4,
)


@given(nodes=_nodes, rounds=_rounds, quota=st.sampled_from([2, 4, 8, 12]))
@settings(max_examples=200, deadline=None)
def test_whatever_comes_and_changes_quotas_hold_and_nobody_waits_for_what_is_there(
    nodes: list[Node], rounds: list[tuple[dict[str, dict[str, Any]], str]], quota: int
) -> None:
    held, running = dict[str, ExistingAllocation](), dict[str, tuple[BoundPod, ...]]()
    for asked, mode in rounds:
        held = {key: it for key, it in held.items() if key in asked}
        needs = [_need(key, it, quota, running.get(key, ())) for key, it in asked.items()]
        for _ in range(3):
            found = schedule(nodes, needs, held, PATIENCE)
            _check_quota(nodes, needs, held, found, quota)
            held |= {it.service: _held(it, granted) for it in needs if (granted := found.decisions[it.service]).hosts}
        assert schedule(nodes, needs, held, PATIENCE).decisions == schedule(nodes, needs, held, PATIENCE).decisions
        _check_nobody_starves(nodes, needs, held, found)
        for it in needs:
            decision = found.decisions[it.service]
            if decision.outcome is Outcome.BOUND and mode != "none runs":
                pods = [BoundPod(*slot, host, it.gpus_per_node, GPU) for slot, host in decision.hosts.items()]
                running[it.service] = tuple(pods if mode == "all run" else pods[:1])


def _need(key: str, asked: dict[str, Any], quota: int, bound: tuple[BoundPod, ...]) -> PlacementRequest:
    digest = repr(sorted((name, str(it)) for name, it in asked.items() if name != "existing_replicas"))
    return PlacementRequest(
        key,
        digest,
        max_replicas=3,
        creation_timestamp=key,
        quota=quota if key < "b" else None,
        bound_pods=bound,
        **asked,
    )


def _held(need: PlacementRequest, decision: Decision) -> ExistingAllocation:
    return ExistingAllocation(
        need.digest,
        decision.product,
        decision.hosts,
        need.gpus_per_node,
        decision.proposed,
        creation_timestamp=need.creation_timestamp,
        resource=GPU,
        exclusive=need.exclusive,
    )


def _is_known(need: PlacementRequest, held: Mapping[str, ExistingAllocation]) -> bool:
    """Nothing of an earlier request is there."""
    same = need.service not in held or held[need.service].digest == need.digest
    return same and all(pod.gpus == need.gpus_per_node for pod in need.bound_pods)


def _cost(
    nodes: Sequence[Node],
    need: PlacementRequest,
    slots: Slots,
    bound: Sequence[BoundPod],
    held: ExistingAllocation | None,
) -> int:
    """What it counts towards the quota, from the definition. A pod that went by itself elsewhere than was decided has
    no host for itself."""
    at_their_place = {((pod.group, pod.worker), pod.host) for pod in bound}
    if not need.exclusive:
        return sum(pod.gpus for pod in bound) + need.gpus_per_node * len(slots.items() - at_their_place)
    strays = [pod for pod in bound if held and pod.host not in held.hosts.values()]
    taken = {host for _, host in slots.items() - at_their_place} | {pod.host for pod in bound if pod not in strays}
    return sum(it.gpus for it in nodes if it.host in taken) + sum(pod.gpus for pod in strays)


def _check_quota(
    nodes: list[Node],
    needs: list[PlacementRequest],
    held: Mapping[str, ExistingAllocation],
    found: Schedule,
    quota: int,
) -> None:
    used, before, after = Counter[str](), Counter[str](), Counter[str]()
    for it in needs:
        slots, earlier = found.decisions[it.service].hosts, held.get(it.service)
        used[it.tenant] += _cost(nodes, it, slots, it.bound_pods, earlier)
        after[it.tenant] += _cost(nodes, it, slots, it.bound_pods if _is_known(it, held) else (), earlier)
        asked_before = (
            replace(it, gpus_per_node=earlier.gpus_per_node, exclusive=earlier.exclusive or it.exclusive)
            if earlier
            else it
        )
        before[it.tenant] += _cost(nodes, asked_before, earlier.hosts if earlier else {}, it.bound_pods, earlier)
    if all(_is_known(it, held) for it in needs):
        assert Counter(found.used) == used
    assert after["a"] <= max(quota, before["a"])


def _check_nobody_starves(
    nodes: list[Node], needs: list[PlacementRequest], held: Mapping[str, ExistingAllocation], found: Schedule
) -> None:
    """Of one pod, where nothing of an earlier request is in the way."""
    for it in needs:
        if (
            it.nodes > 1
            or it.bound_pods
            or it.service in held
            or found.decisions[it.service].outcome is not Outcome.PENDING
        ):
            continue
        fitting = [node.host for node in nodes if _fits(node, it, needs, held)]
        room = quota_left(it, found)
        assert not [
            node.host
            for node in nodes
            if node.host in fitting and room >= (node.gpus if it.exclusive else it.gpus_per_node)
        ]


def quota_left(need: PlacementRequest, found: Schedule) -> float:
    return float("inf") if need.quota is None else need.quota - found.used.get(need.tenant, 0)


def _fits(
    node: Node, need: PlacementRequest, needs: list[PlacementRequest], held: Mapping[str, ExistingAllocation]
) -> bool:
    guests = list(_guests(node.host, needs, held))
    free = node.gpus - (node.unmanaged_usage or 0) - sum(gpus for _, gpus in guests)
    is_open = free == node.gpus if need.exclusive else not any(exclusive for exclusive, _ in guests)
    return (
        is_open
        and free >= need.gpus_per_node
        and (not need.requirements.products or node.product in need.requirements.products)
    )


def _guests(
    host: str, needs: list[PlacementRequest], held: Mapping[str, ExistingAllocation]
) -> Iterator[tuple[bool, int]]:
    """GPUs of each pod that is there or will be, and whether it has the host for itself. Where a pod was granted more
    than it runs with, its successor takes as much."""
    for it in needs:
        running = {(pod.group, pod.worker): pod.gpus for pod in it.bound_pods if pod.host == host}
        yield from ((it.exclusive, gpus) for gpus in running.values())
        if it.service in held:
            own = held[it.service]
            more = (own.gpus_per_node - running.get(slot, 0) for slot, at in own.hosts.items() if at == host)
            yield from ((it.exclusive or own.exclusive, gpus) for gpus in more if gpus > 0)
