"""What holds for every pool, whatever was asked, decided and seen before."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.scheduling.nodes import Node, NodeRequirements
from app.scheduling.request import BoundPod, Decision, ExistingAllocation, Outcome, PlacementRequest
from app.scheduling.scheduler import allocate

PATIENCE = 600.0
WISH = NodeRequirements("amd.com/gpu", ())
quick = settings(max_examples=300, deadline=None)

nodes_of = st.lists(
    st.builds(
        Node,
        host=st.integers(0, 30).map("n{}".format),
        resource=st.just("amd.com/gpu"),
        product=st.sampled_from(["MI300X", "MI210"]),
        gpus=st.integers(1, 8),
        island=st.sampled_from([0, 1, 2, 8]),
        domains=st.sampled_from([(), ("z1", "z1/r1"), ("z1", "z1/r2"), ("z2", "z2/r1")]),
        unmanaged_usage=st.sampled_from([0, 0, 0, 1, None]),
    ),
    max_size=7,
    unique_by=lambda node: node.host,
)


@st.composite
def needs_of(draw: st.DrawFn) -> list[PlacementRequest]:
    names = draw(st.lists(st.integers(0, 50), max_size=7, unique=True))
    return [
        PlacementRequest(
            service=f"ns/s{name:02}",
            digest="d",
            requirements=WISH,
            nodes=draw(st.integers(1, 3)),
            gpus_per_node=draw(st.sampled_from([1, 1, 2, 4, 8])),
            min_replicas=draw(st.integers(1, 2)),
            max_replicas=3,
            existing_replicas=draw(st.integers(0, 3)),
            priority=draw(st.integers(0, 1)),
            creation_timestamp=str(draw(st.integers(0, 3))),
            waiting_seconds=draw(st.sampled_from([0.0, PATIENCE])),
            exclusive=draw(st.booleans()),
            one_pod_per_node=draw(st.booleans()),
            islands=draw(st.sampled_from([{}, {"MI300X": 2, "MI210": 2}])),
        )
        for name in names
    ]


def load(needs: list[PlacementRequest], decisions: dict[str, Decision]) -> Counter[str]:
    """GPUs by host, of everything that was decided."""
    held: Counter[str] = Counter()
    for need in needs:
        for host in decisions[need.service].hosts.values():
            held[host] += need.gpus_per_node
    return held


def as_held(needs: list[PlacementRequest], decisions: dict[str, Decision]) -> dict[str, ExistingAllocation]:
    return {
        need.service: held_by(need, it, need.creation_timestamp)
        for need in needs
        if (it := decisions[need.service]).hosts
    }


def held_by(need: PlacementRequest, decision: Decision, created: str) -> ExistingAllocation:
    return ExistingAllocation(
        digest=need.digest,
        product=decision.product,
        hosts=decision.hosts,
        gpus_per_node=need.gpus_per_node,
        proposed=decision.proposed,
        creation_timestamp=created,
        uid=need.service,
        resource=need.requirements.resource,
        exclusive=need.exclusive,
    )


@quick
@given(nodes_of, needs_of())
def test_no_gpu_is_given_twice_and_groups_are_whole(nodes: list[Node], needs: list[PlacementRequest]) -> None:
    decisions = allocate(nodes, needs, {}, PATIENCE)
    free = {node.host: node.gpus - (node.unmanaged_usage or 0) for node in nodes}
    assert all(count <= free[host] for host, count in load(needs, decisions).items())
    for need in needs:
        assert_whole(need, decisions[need.service])


def assert_whole(need: PlacementRequest, decision: Decision) -> None:
    members = Counter(group for group, _ in decision.hosts)
    assert set(members.values()) <= {need.nodes}


@quick
@given(nodes_of, needs_of(), needs_of())
def test_groups_stay_whole_whatever_was_decided_before(
    nodes: list[Node], needs: list[PlacementRequest], others: list[PlacementRequest]
) -> None:
    """Earlier decisions of another world contradict these ones; as long as nothing runs, no group is torn."""
    earlier = as_held(others, allocate(nodes, others, {}, PATIENCE)) | as_held(
        needs, allocate(nodes, needs, {}, PATIENCE)
    )
    for need in needs:
        assert_whole(need, allocate(nodes, needs, earlier, PATIENCE)[need.service])


@quick
@given(nodes_of, needs_of())
def test_exclusive_hosts_have_one_service_and_no_foreign_pods(nodes: list[Node], needs: list[PlacementRequest]) -> None:
    decisions = allocate(nodes, needs, {}, PATIENCE)
    foreign = {node.host: node.unmanaged_usage or 0 for node in nodes}
    guests = {need.service: set(decisions[need.service].hosts.values()) for need in needs}
    for need in needs:
        for host in guests[need.service] if need.exclusive else ():
            assert foreign[host] == 0
            assert [service for service, hosts in guests.items() if host in hosts] == [need.service]


@quick
@given(nodes_of, needs_of())
def test_islands_are_never_split_and_pods_that_must_be_apart_are(
    nodes: list[Node], needs: list[PlacementRequest]
) -> None:
    decisions = allocate(nodes, needs, {}, PATIENCE)
    known = {node.host: node for node in nodes}
    for need in needs:
        slots = decisions[need.service].hosts
        for host in slots.values():
            island = known[host].island or known[host].gpus
            assert need.islands.get(known[host].product, 1) <= island
        for group in {group for group, _ in slots} if need.one_pod_per_node else ():
            hosts = [host for (of, _), host in slots.items() if of == group]
            assert len(hosts) == len(set(hosts))


@quick
@given(nodes_of, needs_of(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_does_not_matter(
    nodes: list[Node], needs: list[PlacementRequest], chance: object
) -> None:
    decisions = allocate(nodes, needs, {}, PATIENCE)
    shuffled_nodes, shuffled_needs = copy.copy(nodes), copy.copy(needs)
    chance.shuffle(shuffled_nodes)  # type: ignore[attr-defined]
    chance.shuffle(shuffled_needs)  # type: ignore[attr-defined]
    assert allocate(shuffled_nodes, shuffled_needs, {}, PATIENCE) == decisions


@quick
@given(nodes_of, needs_of())
def test_deciding_again_changes_nothing(nodes: list[Node], needs: list[PlacementRequest]) -> None:
    first = allocate(nodes, needs, {}, PATIENCE)
    second = allocate(nodes, needs, as_held(needs, first), PATIENCE)
    third = allocate(nodes, needs, as_held(needs, second), PATIENCE)
    assert {key: it.hosts for key, it in second.items()} == {key: it.hosts for key, it in third.items()}
    for key, decision in first.items():
        assert decision.hosts.items() <= second[key].hosts.items(), "what was decided stands"
        assert not third[key].proposed


@quick
@given(nodes_of, needs_of())
def test_reasons_and_taken_nodes_are_all_nodes(nodes: list[Node], needs: list[PlacementRequest]) -> None:
    for decision in allocate(nodes, needs, {}, PATIENCE).values():
        taken = len(set(decision.hosts.values()))
        assert taken + sum(count for _, count in decision.excluded) == len(nodes)


@quick
@given(nodes_of, needs_of().filter(bool), st.integers(1, 8))
def test_one_free_node_more_never_turns_a_fit_into_none(
    nodes: list[Node], needs: list[PlacementRequest], gpus: int
) -> None:
    """For one request; with several, the order of the line may give the new node to another one. A fit is what is
    guaranteed: a better product may hold that and fewer groups beyond it."""
    one = [replace(needs[0], waiting_seconds=0.0)]
    more = [*nodes, Node("zz", "amd.com/gpu", "MI300X", gpus, island=8)]
    [before], [after] = (allocate(it, one, {}, PATIENCE).values() for it in (nodes, more))
    assert after.groups >= min(one[0].min_replicas, before.groups)
    if before.outcome in (Outcome.PENDING, Outcome.PROPOSED):
        assert after.outcome is not Outcome.IMPOSSIBLE


@quick
@given(nodes_of, needs_of(), st.data())
def test_what_runs_is_never_moved_and_always_counted(
    nodes: list[Node], needs: list[PlacementRequest], data: st.DataObject
) -> None:
    """Also when a scheduler has put pods where nothing was decided."""
    hosts = [node.host for node in nodes]
    for place, need in enumerate(needs):
        if hosts and data.draw(st.sampled_from(["runs", ""])):
            pod = BoundPod(0, 0, str(data.draw(st.sampled_from(hosts))), need.gpus_per_node)
            needs[place] = replace(need, bound_pods=(pod,))
    decisions = allocate(nodes, needs, {}, PATIENCE)
    free = {node.host: node.gpus - (node.unmanaged_usage or 0) for node in nodes}
    for need in needs:
        for pod in need.bound_pods:
            assert decisions[need.service].hosts[pod.group, pod.worker] == pod.host
    placed = load([replace(need, gpus_per_node=need.gpus_per_node) for need in needs], decisions)
    running = Counter(pod.host for need in needs for pod in need.bound_pods for _ in range(pod.gpus))
    assert all(count <= max(free[host], running[host]) for host, count in placed.items())


@settings(max_examples=150, deadline=None)
@given(nodes_of, needs_of(), st.data())
def test_stale_sight_never_promises_for_certain_what_is_taken_or_anothers_own(
    nodes: list[Node], needs: list[PlacementRequest], data: st.DataObject
) -> None:
    """Requests come one by one; each look sees the decisions as they were after some earlier write, in order; a write
    over an object that was not seen as it is gets refused, as Metacontroller's are."""
    written: dict[str, ExistingAllocation] = {}
    history: list[dict[str, ExistingAllocation]] = [{}]
    capacity = {node.host: node.gpus for node in nodes}
    seen = shown = 0
    for step in range(8):
        shown = data.draw(st.integers(max(shown, min(step, len(needs))), len(needs)))
        present = needs[:shown]
        seen = data.draw(st.integers(max(seen, len(history) - 4), len(history) - 1))
        sight = {key: it for key, it in history[seen].items() if any(need.service == key for need in present)}
        decisions = allocate(nodes, present, sight, PATIENCE)
        for need in data.draw(st.permutations(present)):
            before, decision = written.get(need.service), decisions[need.service]
            if history[seen].get(need.service) is not before or (before and decision.is_kept):
                continue  # the API server refuses a write over what was not seen
            if decision.hosts:
                created = before.creation_timestamp if before else f"{len(history):04}"
                written[need.service] = held_by(need, decision, created)
            else:
                written.pop(need.service, None)
            history.append(dict(written))
        promised: Counter[str] = Counter()
        guests: dict[str, set[str]] = {}
        for service, held in written.items():
            for slot, host in held.hosts.items():
                if slot not in held.proposed:
                    promised[host] += held.gpus_per_node
                    guests.setdefault(host, set()).add(service)
        assert all(count <= capacity[host] for host, count in promised.items())
        for host, services in guests.items():
            assert len(services) == 1 or not any(written[it].exclusive for it in services), host
