"""What was decided before, and what runs: what of it stands, what gives way, and what another look must confirm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.scheduling.nodes import LOST_SECONDS, Node, NodeRequirements
from app.scheduling.request import BoundPod, ExistingAllocation, Outcome
from tests.scheduling.pool import decide, held_at, held_from, hosts, need, node

# two looks


def test_what_is_chosen_is_proposed_and_confirmed_at_the_next_look() -> None:
    nodes = [node("n1"), node("n2")]
    first = decide(nodes, need(gpus=4))["a"]
    second = decide(nodes, need(gpus=4), held={"ns/a": held_from(first, 4)})["a"]
    third = decide(nodes, need(gpus=4), held={"ns/a": held_from(second, 4)})["a"]
    assert (first.outcome, second.outcome) == (Outcome.PROPOSED, Outcome.BOUND)
    assert first.hosts == second.hosts
    assert third.hosts == second.hosts
    assert (second.is_kept, third.is_kept) == (False, True)


def test_of_two_decisions_about_the_same_gpus_the_older_one_stands() -> None:
    old = held_at({(0, 0): "n1"}, 8, proposed=frozenset({(0, 0)}), creation_timestamp="1")
    new = replace(old, creation_timestamp="2")
    nodes, needs = [node("n1"), node("n2")], (need("a", 8), need("b", 8))
    found = decide(nodes, *needs, held={"ns/a": new, "ns/b": old})
    assert (hosts(found["b"]), hosts(found["a"])) == (["n1"], ["n2"])
    assert {it.outcome for it in found.values()} == {Outcome.PROPOSED}, "what was promised twice is not certain yet"
    later = decide(nodes, *needs, held={f"ns/{name}": held_from(it, 8) for name, it in found.items()})
    assert {it.outcome for it in later.values()} == {Outcome.BOUND}


def test_a_confirmed_decision_stands_against_an_older_proposal() -> None:
    confirmed = held_at({(0, 0): "n1"}, 8, creation_timestamp="2")
    proposal = held_at({(0, 0): "n1"}, 8, proposed=frozenset({(0, 0)}), creation_timestamp="1")
    found = decide([node("n1")], need("a", 8), need("b", 8), held={"ns/a": confirmed, "ns/b": proposal})
    assert (found["a"].outcome, found["b"].outcome) == (Outcome.BOUND, Outcome.PENDING)


def test_two_decisions_on_one_host_are_not_certain_when_one_of_them_is_exclusive() -> None:
    alone, shared = need("a", 2, exclusive=True), need("b", 2)
    held = {
        "ns/a": held_at({(0, 0): "n1"}, 2, proposed=frozenset({(0, 0)}), creation_timestamp="1", exclusive=True),
        "ns/b": held_at({(0, 0): "n1"}, 2, proposed=frozenset({(0, 0)}), creation_timestamp="2"),
    }
    found = decide([node("n1"), node("n2")], alone, shared, held=held)
    assert (hosts(found["a"]), hosts(found["b"])) == (["n1"], ["n2"])
    assert {it.outcome for it in found.values()} == {Outcome.PROPOSED}


def test_a_decision_about_a_service_that_is_gone_holds_up_what_it_contradicts() -> None:
    mine = held_at({(0, 0): "n1"}, 4, proposed=frozenset({(0, 0)}), creation_timestamp="1")
    gone = held_at({(0, 0): "n1"}, 8, creation_timestamp="0")
    assert decide([node("n1")], need("a", 4), held={"ns/a": mine, "ns/gone": gone})["a"].proposed
    assert not decide([node("n1")], need("a", 4), held={"ns/a": mine})["a"].proposed


def test_a_pod_that_the_scheduler_put_elsewhere_is_counted_there_and_told_so_at_the_next_look() -> None:
    """Whoever was promised that place gives it up first, so that no two answers ever name the same GPUs for certain."""
    mine = held_at({(0, 0): "n1"}, 8, creation_timestamp="1")
    theirs = held_at({(0, 0): "n2"}, 8, creation_timestamp="2")
    needs = need("a", 8, bound_pods=(BoundPod(0, 0, "n2", 8),)), need("b", 8)
    first = decide([node("n1"), node("n2")], *needs, held={"ns/a": mine, "ns/b": theirs})
    assert (hosts(first["a"]), first["a"].proposed, first["a"].outcome) == (["n2"], frozenset({(0, 0)}), Outcome.BOUND)
    assert hosts(first["b"]) == ["n1"]
    held = {f"ns/{name}": held_from(it, 8) for name, it in first.items()}
    second = decide([node("n1"), node("n2")], *needs, held=held)
    assert second["a"].proposed == second["b"].proposed == frozenset()


def test_what_was_told_already_is_not_packed_again() -> None:
    nodes = [node("n1", 4), node("n2", 8)]
    told = {"ns/a": held_at({(0, 0): "n1"}, 2), "ns/b": held_at({(0, 0): "n2"}, 4, exclusive=True)}
    found = decide(nodes, need("a", 2), need("b", 4, exclusive=True), need("c", 4), held=told)
    assert [hosts(found[name]) for name in "abc"] == [["n1"], ["n2"], []]


# what runs


def test_what_runs_counts_where_it_runs_whatever_was_decided() -> None:
    elsewhere = held_at({(0, 0): "n1"}, 8, creation_timestamp="1")
    running = need("a", 8, bound_pods=(BoundPod(0, 0, "n2", 8),))
    found = decide([node("n1"), node("n2")], running, need("b", 8), held={"ns/a": elsewhere})
    assert hosts(found["a"]) == ["n2"]
    assert hosts(found["b"]) == ["n1"]


def test_a_pod_outside_the_pool_is_reported_and_not_moved() -> None:
    found = decide([node("n1")], need("a", 8, bound_pods=(BoundPod(0, 0, "other", 8),)))["a"]
    assert (found.outcome, hosts(found)) == (Outcome.BOUND, ["other"])
    assert found.breaches == ("pod 0 of group 0 runs on other, which is not in this pool",)


def test_a_node_that_is_not_ready_for_a_moment_keeps_what_it_has_and_gets_nothing_new() -> None:
    old = held_at({(0, 0): "n1"}, 4, creation_timestamp="1")
    found = decide([node("n1", not_ready_seconds=LOST_SECONDS - 1)], need("a", 4), need("b", 4), held={"ns/a": old})
    assert (found["a"].outcome, hosts(found["a"])) == (Outcome.BOUND, ["n1"])
    assert found["b"].outcome is Outcome.PENDING
    assert "is not ready" in found["b"].message


# edits


@pytest.mark.parametrize("gpus", [4, 8])
def test_a_service_that_asks_for_more_gpus_is_confirmed_while_its_smaller_pods_still_run(gpus: int) -> None:
    """They go only once the new decision is certain, so it must not wait for them."""
    nodes = [node("n1")]
    runs = need(gpus=gpus, digest="d2", bound_pods=(BoundPod(0, 0, "n1", 2),))
    first = decide(nodes, runs, held={"ns/a": held_at({(0, 0): "n1"}, 2, digest="d1")})["a"]
    second = decide(nodes, runs, held={"ns/a": held_from(first, gpus, digest="d2")})["a"]
    assert (first.outcome, second.outcome) == (Outcome.PROPOSED, Outcome.BOUND)
    assert hosts(second) == ["n1"]


def test_an_edit_may_use_the_gpus_of_what_it_replaces() -> None:
    """The only node is full of the service's own pods, which go before the new ones come."""
    before = held_at({(0, 0): "n1"}, 4, digest="before", creation_timestamp="1")
    edited = need("a", 8, bound_pods=(BoundPod(0, 0, "n1", 4),))
    found = decide([node("n1")], edited, held={"ns/a": before})["a"]
    assert (found.outcome, hosts(found)) == (Outcome.PROPOSED, ["n1"])


@pytest.mark.parametrize(("gpus", "pods"), [(4, 1), (16, 1), (4, 2)], ids=["smaller", "larger", "split"])
def test_an_edit_of_the_size_is_confirmed_while_the_pods_of_before_still_run(gpus: int, pods: int) -> None:
    """They go only once the new decision is certain; until then it stays where it was proposed."""
    nodes = [node("n1", 16), node("n2", 16)]
    edited = need("a", gpus, pods=pods, bound_pods=(BoundPod(0, 0, "n1", 8),))
    first = decide(nodes, edited, held={"ns/a": held_at({(0, 0): "n1"}, 8, digest="before")})["a"]
    assert first.outcome is Outcome.PROPOSED
    held = {"ns/a": held_from(first, gpus)}
    second = decide(nodes, edited, need("b", 1), held=held)
    assert (second["a"].outcome, second["a"].hosts) == (Outcome.BOUND, first.hosts)
    held = {f"ns/{name}": held_from(second[name], count) for name, count in (("a", gpus), ("b", 1))}
    third = decide(nodes, edited, need("b", 1), need("c", 32), held=held)
    assert (third["a"].outcome, third["a"].hosts) == (Outcome.BOUND, first.hosts)


def test_while_the_pods_of_before_still_run_nobody_else_gets_their_gpus() -> None:
    edited = need("a", 4, bound_pods=(BoundPod(0, 0, "n1", 8),))
    held = {"ns/a": held_at({(0, 0): "n1"}, 4)}
    found = decide([node("n1")], edited, need("b", 4), held=held)
    assert (found["a"].outcome, found["b"].outcome) == (Outcome.BOUND, Outcome.PENDING)


def test_while_an_edit_waits_the_gpus_of_what_it_replaces_stay_taken() -> None:
    before = held_at({(0, 0): "n1"}, 4, digest="before", creation_timestamp="1")
    found = decide([node("n1")], need("a", 16), need("b", 8), held={"ns/a": before})
    assert found["b"].outcome is Outcome.PENDING


# groups are whole


def test_of_a_group_only_the_pod_whose_node_is_gone_is_placed_anew() -> None:
    old = held_at({(0, 0): "n1", (0, 1): "n2", (1, 0): "n3", (1, 1): "n3"}, 4, creation_timestamp="1")
    nodes = [node("n1"), node("n2", not_ready_seconds=LOST_SECONDS), node("n3"), node("n4")]
    found = decide(nodes, need("a", 4, pods=2, min_replicas=2, max_replicas=2), held={"ns/a": old})["a"]
    assert found.hosts == {(0, 0): "n1", (0, 1): "n1", (1, 0): "n3", (1, 1): "n3"}
    assert found.proposed == {(0, 1)}
    assert found.outcome is Outcome.PROPOSED


def test_who_loses_one_pod_of_a_group_to_somebody_else_gives_up_the_group() -> None:
    """Half a group serves nobody."""
    winner = held_at({(0, 0): "n1"}, 8, creation_timestamp="1")
    loser = held_at({(0, 0): "n1", (0, 1): "n2"}, 8, creation_timestamp="2", proposed=frozenset({(0, 0), (0, 1)}))
    found = decide(
        [node("n1"), node("n2")], need("a", 8), need("b", 8, pods=2), need("c", 8), held={"ns/a": winner, "ns/b": loser}
    )
    assert (hosts(found["b"]), found["b"].outcome) == ([], Outcome.PENDING)
    assert hosts(found["c"]) == ["n2"]


def test_what_a_group_gives_up_is_there_for_who_comes_behind_however_many_found_nothing_before() -> None:
    winner = held_at({(0, 0): "n1"}, 8, creation_timestamp="1")
    loser = held_at({(0, 0): "n1", (0, 1): "n2"}, 8, creation_timestamp="2")
    asking = [need("a", 8), need("aa", 8), need("b", 8, pods=2), need("c", 8)]
    found = decide([node("n1"), node("n2")], *asking, held={"ns/a": winner, "ns/b": loser})
    assert [hosts(found[name]) for name in ("a", "aa", "b", "c")] == [["n1"], [], [], ["n2"]]


def test_a_group_that_lost_a_pod_moves_as_a_whole_when_only_that_keeps_it_whole() -> None:
    winner = held_at({(0, 0): "n1"}, 8, creation_timestamp="1")
    loser = held_at({(0, 0): "n1", (0, 1): "n2"}, 8, creation_timestamp="2")
    nodes = [node("n1"), node("n2", domains=("z1",)), node("n3", domains=("z2",)), node("n4", domains=("z2",))]
    found = decide(nodes, need("a", 8), need("b", 8, pods=2), held={"ns/a": winner, "ns/b": loser})
    assert found["b"].groups == 1


def test_a_group_of_which_a_pod_runs_keeps_what_it_has() -> None:
    winner = held_at({(0, 0): "n1"}, 8, creation_timestamp="1")
    loser = held_at({(0, 0): "n1", (0, 1): "n2", (0, 2): "n3"}, 8, creation_timestamp="2")
    asking = need("b", 8, pods=3, bound_pods=(BoundPod(0, 1, "n2", 8),))
    nodes = [node("n1"), node("n2"), node("n3")]
    found = decide(nodes, need("a", 8), asking, held={"ns/a": winner, "ns/b": loser})
    assert found["b"].hosts == {(0, 1): "n2", (0, 2): "n3"}


# beyond the guarantee


def test_a_promise_beyond_the_guarantee_gives_way_to_a_guarantee() -> None:
    both = held_at({(0, 0): "n1", (1, 0): "n1"}, 4, creation_timestamp="1")
    found = decide(
        [node("n1")],
        need("a", 4, min_replicas=1, max_replicas=2, existing_replicas=2),
        need("b", 4),
        held={"ns/a": both},
    )
    assert found["a"].hosts == {(0, 0): "n1"}
    assert hosts(found["b"]) == ["n1"]


def test_what_is_held_beyond_the_guarantee_stays_while_another_node_is_free() -> None:
    both = held_at({(0, 0): "n1", (1, 0): "n2"}, 8, creation_timestamp="1")
    elastic = need("a", 8, min_replicas=1, max_replicas=2, existing_replicas=2)
    found = decide([node("n1"), node("n2"), node("n3")], elastic, need("b", 8), held={"ns/a": both})
    assert found["a"].hosts == both.hosts
    assert hosts(found["b"]) == ["n3"]


def test_what_gives_way_to_a_guarantee_is_no_more_than_that_needs() -> None:
    three = held_at({(0, 0): "n1", (1, 0): "n2", (2, 0): "n3"}, 8, creation_timestamp="1")
    elastic = need("a", 8, min_replicas=1, max_replicas=3, existing_replicas=3)
    found = decide([node("n1"), node("n2"), node("n3")], elastic, need("b", 8), held={"ns/a": three})
    assert (hosts(found["b"]), found["a"].groups) == (["n2"], 2)


def test_guarantees_that_fit_nowhere_leave_what_is_held_alone() -> None:
    both = held_at({(0, 0): "n1", (1, 0): "n2"}, 8, creation_timestamp="1")
    elastic = need("a", 8, min_replicas=1, max_replicas=2, existing_replicas=2)
    found = decide([node("n1"), node("n2")], elastic, need("b", 8, pods=2), held={"ns/a": both})
    assert found["a"].hosts == both.hosts
    assert found["b"].outcome is Outcome.PENDING


# edits that change where, not how many


def test_an_edit_that_needs_another_product_moves_there_once_that_is_decided() -> None:
    nodes = [node("n1", product="MI210"), node("n2", product="MI300X")]
    pod = BoundPod(0, 0, "n1", 8)
    requirements = NodeRequirements("amd.com/gpu", ("MI300X",), (("MI210", "too small"),))
    edited = need(gpus=8, digest="d2", requirements=requirements, bound_pods=(pod,))
    held = ExistingAllocation("d", "MI210", {(0, 0): "n1"}, 8, resource="amd.com/gpu")
    first = decide(nodes, edited, held={"ns/a": held})["a"]
    assert (first.outcome, hosts(first), first.product) == (Outcome.PROPOSED, ["n2"], "MI300X")
    second = decide(nodes, edited, held={"ns/a": held_from(first, 8, "d2")})["a"]
    assert (second.outcome, hosts(second), second.product) == (Outcome.BOUND, ["n2"], "MI300X")
    other = decide(nodes, edited, need("b", 8), held={"ns/a": held_from(second, 8, "d2")})["b"]
    assert other.outcome is Outcome.PENDING, "the old pod still has its GPUs"


def test_gpus_stay_booked_under_the_name_by_which_they_are_held() -> None:
    """A service that asks for partitions from now on runs on whole GPUs until its new pods come."""
    partition = "amd.com/cpx_nps4"
    nodes = [node("n1"), Node("n2", partition, "MI300X-CPX-NPS4", 16)]
    running = BoundPod(0, 0, "n1", 8, "amd.com/gpu")
    edited = need(gpus=8, digest="d2", requirements=NodeRequirements(partition, ()), bound_pods=(running,))
    held = held_at({(0, 0): "n1"}, 8)
    for _ in range(3):
        found = decide(nodes, edited, need("b", 8), held={"ns/a": held})
        assert hosts(found["a"]) == ["n2"]
        assert found["b"].outcome is Outcome.PENDING
        held = ExistingAllocation("d2", "MI300X-CPX-NPS4", found["a"].hosts, 8, found["a"].proposed, "1", "", partition)
    assert found["a"].outcome is Outcome.BOUND


def test_gpus_of_an_earlier_request_without_pods_stay_booked_too() -> None:
    partition = "amd.com/cpx_nps4"
    edited = need(gpus=8, digest="d2", requirements=NodeRequirements(partition, ()))
    found = decide([node("n1")], edited, need("b", 8), held={"ns/a": held_at({(0, 0): "n1"}, 8)})
    assert found["b"].outcome is Outcome.PENDING
