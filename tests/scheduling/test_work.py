"""A look has a bound of work: it is counted, not timed, what was found stands, and the next look goes on from there."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scheduling import placement
from app.scheduling.nodes import Node
from app.scheduling.request import ExistingAllocation, Outcome, PlacementRequest, Slot
from app.scheduling.scheduler import MOST_EXAMINED, schedule
from tests.bench.planner import PATIENCE, build_nodes, hostile_mixes
from tests.scheduling.pool import need, node

MIXES = [pytest.param(nodes, needs, id=name) for name, nodes, needs in hostile_mixes()]


def settle(
    nodes: list[Node], needs: list[PlacementRequest], most_examined: int, most: int = 200
) -> list[dict[str, dict[Slot, str]]]:
    """Slots by service after each look, until one tried everybody."""
    by_service, held, resume, seen = {it.service: it for it in needs}, dict[str, ExistingAllocation](), "", []
    for _ in range(most):
        found = schedule(nodes, needs, held, PATIENCE, resume=resume, most_examined=most_examined)
        resume = found.resume
        seen.append({key: dict(it.hosts) for key, it in found.decisions.items()})
        held = {
            key: ExistingAllocation(
                "d", it.product, it.hosts, by_service[key].gpus_per_node, it.proposed, resource="amd.com/gpu"
            )
            for key, it in found.decisions.items()
            if it.hosts
        }
        if not resume:
            return seen
    raise AssertionError(f"{most} looks did not settle it")


@pytest.mark.parametrize(("nodes", "needs"), MIXES)
def test_no_mix_costs_more_than_its_bound(
    nodes: list[Node], needs: list[PlacementRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes looked at, and pods placed: the same on every machine. What one placement may go over is one group."""
    calls = 0
    measure = placement.capacity

    def counted(*arguments: object) -> int:
        nonlocal calls
        calls += 1
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(placement, "capacity", counted)
    found = schedule(nodes, needs, {}, PATIENCE)
    assert calls <= MOST_EXAMINED / placement.MEASURED + 100 * len(nodes) + 1_000_000
    assert len(found.decisions) == len(needs)


def test_looks_that_end_early_place_everybody_in_the_end_and_take_nothing_back() -> None:
    nodes, needs = build_nodes(64), [need(f"s{it:03}", gpus=1, pods=1 + it % 2, min_replicas=2) for it in range(150)]
    in_one = settle(nodes, needs, MOST_EXAMINED)
    steps = settle(nodes, needs, 5_000)
    assert len(steps) > 3
    for before, after in pairwise(steps):
        assert all(after[service].items() >= slots.items() for service, slots in before.items()), "progress is kept"
    assert {key for key, slots in steps[-1].items() if slots} == {key for key, slots in in_one[-1].items() if slots}


def test_a_service_of_very_many_groups_gets_them_over_several_looks() -> None:
    needs = [need("wide", min_replicas=400), need("late", gpus=2)]
    steps = settle(build_nodes(64), needs, 4_000)
    counts = [len(it["ns/wide"]) for it in steps]
    assert counts == sorted(counts)
    assert counts[-1] == 400
    assert len(steps[-1]["ns/late"]) == 1


def test_who_was_not_tried_keeps_what_it_has_and_says_that_it_waits() -> None:
    nodes = [node(f"n{it}") for it in range(10)]
    needs = [need("a", min_replicas=20), need("b"), need("c")]
    kept = {"ns/c": ExistingAllocation("d", "MI300X", {(0, 0): "n9"}, 1, resource="amd.com/gpu")}
    found = schedule(nodes, needs, kept, PATIENCE, most_examined=50)
    assert found.resume == "ns/a"
    assert found.decisions["ns/b"].outcome is Outcome.PENDING
    assert "The pool decides in several looks" in found.decisions["ns/b"].message
    assert (found.decisions["ns/c"].outcome, found.decisions["ns/c"].hosts) == (Outcome.BOUND, {(0, 0): "n9"})


def test_a_look_resumes_where_the_last_one_ended() -> None:
    """Whoever waits in front was tried already, so those behind get their turn."""
    nodes = [node("n0"), node("n1", 1)]
    needs = [need(f"s{it}", gpus=8, pods=9 - it) for it in range(7)] + [need("z", gpus=1)]
    found = schedule(nodes, needs, {}, PATIENCE, most_examined=1, resume="ns/z")
    assert found.decisions["ns/z"].hosts
    assert found.resume == "", "those in front were tried by the look before"


@given(
    sizes=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=12),
    most_examined=st.integers(1, 400),
)
@settings(max_examples=60, deadline=None)
def test_however_short_the_looks_are_they_settle_and_no_gpu_is_promised_twice(
    sizes: list[tuple[int, int, int]], most_examined: int
) -> None:
    nodes = [node(f"n{it}") for it in range(6)]
    needs = [
        need(f"s{it:02}", gpus=gpus, pods=pods, min_replicas=least) for it, (gpus, pods, least) in enumerate(sizes)
    ]
    by_service = {it.service: it for it in needs}
    for slots in settle(nodes, needs, most_examined):
        used = dict.fromkeys((it.host for it in nodes), 0)
        for service, places in slots.items():
            for host in places.values():
                used[host] += by_service[service].gpus_per_node
        assert max(used.values()) <= 8
