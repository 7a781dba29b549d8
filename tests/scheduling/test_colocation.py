"""What one host at a time can have: whoever shares it goes to one host, at every look, and that costs no more work."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scheduling.colocation import Colocation
from app.scheduling.nodes import NodeRequirements
from app.scheduling.request import Decision, ExistingAllocation, Outcome, PlacementRequest
from app.scheduling.scheduler import schedule
from tests.bench.planner import build_nodes
from tests.scheduling.pool import PATIENCE, decide, hosts, need, node


def rounds(sizes: list[tuple[int, str]], foreign: list[int]) -> list[dict[str, Decision]]:
    """Looks after each of which what was proposed is held."""
    nodes = [node(f"n{it}", unmanaged_usage=count) for it, count in enumerate(foreign)]
    needs = [need(f"s{it:02}", gpus, claim=shared) for it, (gpus, shared) in enumerate(sizes)]
    held, found = dict[str, ExistingAllocation](), []
    for _ in range(3):
        decisions = schedule(nodes, needs, held, PATIENCE).decisions
        found.append(decisions)
        held = {
            it.service: ExistingAllocation(
                "d", "MI300X", decision.hosts, it.gpus_per_node, decision.proposed,
                creation_timestamp=it.creation_timestamp, resource="amd.com/gpu",
            )
            for it in needs
            if (decision := decisions[it.service]).hosts
        }  # fmt: skip
    return found


@given(
    sizes=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["", "", "ns/x", "ns/y"])), min_size=1, max_size=10),
    foreign=st.lists(st.integers(0, 8), min_size=1, max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_sharers_are_on_one_host_at_every_look_and_nobody_loses_a_place(
    sizes: list[tuple[int, str]], foreign: list[int]
) -> None:
    found = rounds(sizes, foreign)
    for decisions in found:
        for shared in ("ns/x", "ns/y"):
            theirs = (decisions[f"ns/s{it:02}"] for it, (_, requirements) in enumerate(sizes) if requirements == shared)
            assert len({host for it in theirs for host in it.hosts.values()}) <= 1
    last = found[-1]
    assert all(last[key].hosts.items() >= it.hosts.items() for key, it in found[0].items())
    assert all(it.outcome is not Outcome.PROPOSED for it in last.values())


def test_who_waits_for_the_host_of_another_names_both() -> None:
    [decisions, *_] = rounds([(8, "ns/x"), (8, "ns/x"), (8, "")], [0, 0])
    assert decisions["ns/s01"].beside == ("ns/s00", decisions["ns/s00"].hosts[0, 0])
    assert [decisions[f"ns/s0{it}"].beside for it in (0, 2)] == [None, None]


def test_the_product_is_that_of_the_host_where_others_have_it() -> None:
    nodes = [node("n1", product="A"), node("n2", product="B")]
    first = need("a", claim="ns/x", requirements=NodeRequirements("amd.com/gpu", ("B",)))
    second = need(
        "b", min_replicas=2, max_replicas=2, claim="ns/x", requirements=NodeRequirements("amd.com/gpu", ("A", "B"))
    )
    assert hosts(decide(nodes, first, second)["b"]) == ["n2", "n2"]


def test_very_many_that_share_one_thing_cost_no_more_than_a_few_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: hosts and services that are looked at for all of them together."""
    looked = 0
    original = Colocation.homes

    def counted(self: Colocation, wanting: PlacementRequest) -> object:
        nonlocal looked
        found = original(self, wanting)
        looked += 1 + len(found)
        return found

    monkeypatch.setattr(Colocation, "homes", counted)
    needs = [need(f"s{it:05}", 1, claim="ns/x") for it in range(3000)]
    decisions = schedule(build_nodes(50), needs, {}, PATIENCE).decisions
    placed = [it for it in decisions.values() if it.hosts]
    assert len(placed) == 8
    assert looked <= 10 * len(needs)
