"""Who gets which GPUs of a pool: the specification's cases, the order of the line, where, and what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.scheduling import explain
from app.scheduling import placer as filling
from app.scheduling.nodes import Node, NodeRequirements, Taint, Toleration
from app.scheduling.placement import place_group
from app.scheduling.request import BoundPod, Outcome, PlacementRequest
from app.scheduling.scheduler import allocate
from tests.scheduling.pool import PATIENCE, WISH, decide, held_at, hosts, need, node

# the specification's cases


def test_two_exclusive_gpus_go_to_a_node_that_is_all_free() -> None:
    found = decide([node("n1", 4), node("n2", 4)], need(gpus=2, exclusive=True))["a"]
    assert (found.outcome, hosts(found)) == (Outcome.PROPOSED, ["n1"])


def test_two_shared_gpus_go_to_the_fullest_node_that_has_them() -> None:
    found = decide([node("n1", 4, unmanaged_usage=1), node("n2", 4, unmanaged_usage=2)], need(gpus=2))["a"]
    assert hosts(found) == ["n2"]


def test_eight_exclusive_gpus_on_nodes_of_four_are_impossible() -> None:
    found = decide([node("n1", 4)], need(gpus=8, exclusive=True))["a"]
    assert found.outcome is Outcome.IMPOSSIBLE
    assert "needs 8 GPUs on one node" in found.message
    assert "has 4 GPUs, fewer than 8" in found.message


def test_what_others_hold_now_is_no_reason_why_a_pool_could_never_give_it() -> None:
    nodes = [node("n1", 8), node("n2", 8), node("n3", 8, unmanaged_usage=5)]
    asked = need("b", pods=8, gpus=8)
    found = decide(nodes, need("a", gpus=2, exclusive=True, priority=1), asked)["b"]
    assert found.outcome is Outcome.IMPOSSIBLE
    assert found.message == (
        "A group needs 8 pods with 8 GPUs each; this pool could never give that, even if nobody used it: 3 of 3 nodes "
        "have room for 1 pod."
    )
    assert found.excluded == (("has room for 1 pod", 3),)


def test_services_that_differ_in_their_number_of_pods_alone_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands that the pool could never hold cost one look at its nodes."""
    monkeypatch.setattr(explain, "MOST_REASONS", 4)
    nodes = [node(f"n{number}", 8) for number in range(3)]
    found = decide(nodes, *(need(f"s{pods}", pods=pods, gpus=8) for pods in range(4, 9)))
    assert {it.excluded for it in found.values()} == {(("has room for 1 pod", 3),)}


# order


def test_priority_goes_before_age_and_age_before_name() -> None:
    needs = [
        need("a", 8, creation_timestamp="3"),
        need("b", 8, creation_timestamp="1"),
        need("c", 8, creation_timestamp="2", priority=1),
    ]
    found = decide([node("n1"), node("n2")], *needs)
    assert found["c"].hosts
    assert found["b"].hosts
    assert (found["a"].outcome, found["a"].place_in_line) == (Outcome.PENDING, 1)


def test_a_smaller_service_goes_ahead_of_one_that_does_not_fit_yet() -> None:
    found = decide([node("n1", unmanaged_usage=4)], need("a", 8), need("b", 4))
    assert found["a"].outcome is Outcome.PENDING
    assert hosts(found["b"]) == ["n1"]


def test_who_has_waited_long_gets_nodes_held_back() -> None:
    found = decide(
        [node("n1", unmanaged_usage=4), node("n2", unmanaged_usage=6)],
        need("a", 8, waiting_seconds=PATIENCE),
        need("b", 4),
    )
    assert found["b"].outcome is Outcome.PENDING
    assert "held back for a service that has waited longer" in found["b"].message


def test_nodes_that_a_service_has_for_itself_are_not_held_back_in_vain() -> None:
    alone = need("alone", 2, exclusive=True, creation_timestamp="0", bound_pods=(BoundPod(0, 0, "n1", 2),))
    nodes = [node("n1"), node("n2", unmanaged_usage=5)]
    found = decide(nodes, alone, need("long", 4, waiting_seconds=PATIENCE), need("small", 1))
    assert found["small"].outcome is Outcome.PENDING, "n2 is the one that the long waiter can get"


def test_nodes_that_services_will_leave_are_held_back_before_those_of_foreign_pods() -> None:
    ours = need("ours", 4, creation_timestamp="0", bound_pods=(BoundPod(0, 0, "n1", 4),))
    nodes = [node("n1"), node("n2", unmanaged_usage=1)]
    found = decide(nodes, ours, need("long", 8, waiting_seconds=PATIENCE), need("small", 4))
    assert hosts(found["small"]) == ["n2"]


def test_a_service_of_no_groups_keeps_nobody_from_places() -> None:
    found = decide([node("n1")], need("none", 4, min_replicas=0, max_replicas=0), need("some", 4))
    assert (found["some"].outcome, hosts(found["some"])) == (Outcome.PROPOSED, ["n1"])
    assert (found["none"].outcome, found["none"].message) == (Outcome.BOUND, "No group is asked for.")


def test_groups_beyond_the_guarantee_come_after_everybodys_guarantee() -> None:
    found = decide([node("n1")], need("a", 4, min_replicas=1, max_replicas=2, existing_replicas=2), need("b", 4))
    assert (found["a"].groups, found["b"].groups) == (1, 1)
    assert found["a"].outcome is Outcome.PROPOSED


# exclusive


def test_nobody_joins_a_node_that_is_held_exclusively() -> None:
    found = decide([node("n1")], need("a", 2, exclusive=True), need("b", 2))
    assert found["b"].outcome is Outcome.PENDING
    assert "held by a service for itself" in found["b"].message


def test_exclusive_is_of_the_whole_host_under_every_resource_name() -> None:
    nodes = [node("n1"), replace(node("n1"), resource="amd.com/cpx_nps4")]
    other = need("b", 1, requirements=NodeRequirements("amd.com/cpx_nps4", ()))
    found = decide(nodes, need("a", 2, exclusive=True), other)
    assert (found["a"].outcome, found["b"].outcome) == (Outcome.PROPOSED, Outcome.PENDING)


# where


def test_a_group_stays_in_the_smallest_domain_that_holds_it() -> None:
    nodes = [
        node("n1", domains=("z", "z/r1"), unmanaged_usage=4),
        node("n2", domains=("z", "z/r1"), unmanaged_usage=0),
        node("n3", domains=("z", "z/r2")),
        node("n4", domains=("z", "z/r2")),
    ]
    assert hosts(decide(nodes, need(gpus=8, pods=2))["a"]) == ["n3", "n4"]
    assert hosts(decide(nodes, need(gpus=4, pods=3))["a"]) == ["n2", "n2", "n1"]
    assert set(hosts(decide(nodes, need(gpus=8, pods=3))["a"])) == {"n2", "n3", "n4"}


def test_tensor_parallelism_gets_whole_islands_wherever_the_used_gpus_are() -> None:
    pairs = {"MI250X": 2}
    used = node("n1", product="MI250X", island=2, unmanaged_usage=3)
    found = decide([used], need(gpus=4, islands=pairs))["a"]
    assert found.outcome is Outcome.PENDING
    assert hosts(decide([used], need(gpus=2, islands=pairs))["a"]) == ["n1"]


def test_every_gpu_is_an_island_of_one() -> None:
    used = node("n1", product="MI250X", island=2, unmanaged_usage=4)
    assert hosts(decide([used], need(gpus=1, islands={"MI250X": 1}))["a"]) == ["n1"]
    partitions = Node("n1", "amd.com/cpx_nps4", "MI300X-CPX-NPS4", 64, island=8, unmanaged_usage=8)
    requirements = NodeRequirements("amd.com/cpx_nps4", ())
    assert hosts(
        decide([partitions], need(gpus=8, requirements=requirements, islands={"MI300X-CPX-NPS4": 1}))["a"]
    ) == ["n1"]


def test_islands_are_kept_for_a_model_that_nobody_knows_too() -> None:
    small = node("n1", product="MI250X", island=2)
    found = decide([small], need(gpus=4, islands={"": 4}))["a"]
    assert found.outcome is Outcome.IMPOSSIBLE
    assert "has islands of 2 GPUs, smaller than 4" in found.message


def test_islands_that_may_be_broken_are_the_reason_that_is_given() -> None:
    used = node("n1", product="MI250X", island=2, unmanaged_usage=3)
    found = decide([used], need(gpus=4, islands={"MI250X": 2}))["a"]
    assert found.outcome is Outcome.PENDING
    assert "has 5 free GPUs, of which no 4 are sure to be whole islands of 2" in found.message


def test_pods_that_must_be_apart_are() -> None:
    nodes = [node("n1"), node("n2")]
    assert set(hosts(decide(nodes, need(gpus=1, pods=2, one_pod_per_node=True))["a"])) == {"n1", "n2"}


def test_the_first_product_that_holds_all_groups_is_taken_for_all() -> None:
    nodes = [node("n1", product="MI210"), node("n2", product="MI300X"), node("n3", product="MI300X")]
    requirements = NodeRequirements("amd.com/gpu", ("MI210", "MI300X"))
    found = decide(nodes, need(gpus=8, min_replicas=2, max_replicas=2, requirements=requirements))["a"]
    assert found.product == "MI300X"
    assert hosts(found) == ["n2", "n3"]


def test_groups_of_an_exclusive_service_are_counted_on_one_node_as_they_are_placed() -> None:
    requirements = NodeRequirements("amd.com/gpu", ("MI325X", "MI300X"))
    nodes = [node("n1", 4, product="MI325X"), node("n2", 8, product="MI300X")]
    found = decide(nodes, need(gpus=4, min_replicas=2, max_replicas=2, exclusive=True, requirements=requirements))["a"]
    assert (found.product, found.groups, hosts(found)) == ("MI300X", 2, ["n2", "n2"])


def test_a_product_that_nobody_knows_serves_a_model_that_nobody_knows() -> None:
    assert hosts(decide([node("n1", product="")], need())["a"]) == ["n1"]


def test_a_model_that_was_planned_waits_for_the_name_of_a_product_that_nobody_knows() -> None:
    """Unknown is neither enough nor zero: nothing is granted, and nothing is called impossible."""
    planned = need(requirements=NodeRequirements("amd.com/gpu", ("MI300X",)))
    found = decide([node("n1", product="")], planned)["a"]
    assert (found.outcome, found.excluded) == (Outcome.PENDING, (("has GPUs of an unknown product", 1),))
    assert decide([node("n1", product=""), node("n2")], planned)["a"].outcome is not Outcome.PENDING
    other = need(requirements=NodeRequirements("amd.com/other", ("MI300X",)))
    assert decide([node("n1", product="")], other)["a"].outcome is Outcome.IMPOSSIBLE
    assert (
        decide([node("n1", 4, product="")], need(gpus=8, requirements=planned.requirements))["a"].outcome
        is Outcome.IMPOSSIBLE
    )


@pytest.mark.parametrize(
    ("product", "asked", "words"),
    [
        pytest.param("MI300X-CPX-NPS4", "MI300X", "is partitioned cpx_nps4, and whole GPUs are asked for", id="whole"),
        pytest.param("MI300X", "MI300X-CPX-NPS4", "has whole GPUs, not partitions cpx_nps4", id="partitions"),
        pytest.param(
            "MI300X-DPX-NPS1",
            "MI300X-CPX-NPS4",
            "is partitioned dpx_nps1, and partitions cpx_nps4 are asked for",
            id="other partitions",
        ),
        pytest.param(
            "MI325X-CPX-NPS4", "MI300X", "is partitioned cpx_nps4, and whole GPUs are asked for", id="other product"
        ),
        pytest.param("MI210", "MI300X", "product MI210 was not planned for", id="no partition at all"),
    ],
)
def test_partitions_that_were_not_asked_for_are_named(product: str, asked: str, words: str) -> None:
    requirements = NodeRequirements("amd.com/gpu", (asked,))
    found = decide([node("n1", product=product)], need(requirements=requirements))["a"]
    assert found.outcome is Outcome.IMPOSSIBLE
    assert found.excluded[0][0].startswith(words)


# which nodes


@pytest.mark.parametrize(
    ("fields", "requirements", "words", "outcome"),
    [
        pytest.param(
            {"taints": (Taint("down", "", "NoSchedule"),)}, WISH, "has the taint down:NoSchedule", Outcome.PENDING,
            id="a taint passes",
        ),
        pytest.param(
            {}, replace(WISH, node_selector=(("pool", "x"),)), "has no label pool=x", Outcome.IMPOSSIBLE,
            id="a label does not",
        ),
        pytest.param(
            {"product": "MI210"}, NodeRequirements("amd.com/gpu", ("MI300X",), (("MI210", "needs 90 GiB a GPU"),)),
            "MI210: needs 90 GiB a GPU", Outcome.IMPOSSIBLE, id="a product that is too small",
        ),
        pytest.param(
            {}, NodeRequirements("amd.com/cpx_nps4", ()), "offers amd.com/gpu", Outcome.IMPOSSIBLE,
            id="another resource",
        ),
    ],
)  # fmt: skip
def test_a_node_that_cannot_be_used_is_counted_with_its_reason(
    fields: dict[str, Any], requirements: NodeRequirements, words: str, outcome: Outcome
) -> None:
    found = decide([node("n1", **fields)], need(requirements=requirements))["a"]
    assert found.outcome is outcome
    assert words in found.message
    assert sum(count for _, count in found.excluded) == 1


def test_a_tolerated_taint_keeps_nobody_off() -> None:
    tainted = node("n1", taints=(Taint("amd.com/gpu", "", "NoSchedule"),))
    tolerant = need(requirements=replace(WISH, tolerations=(Toleration("amd.com/gpu"),)))
    assert hosts(decide([tainted], tolerant)["a"]) == ["n1"]


def test_a_pool_without_nodes_knows_nothing() -> None:
    assert decide([], need())["a"].outcome is Outcome.UNKNOWN


def test_unknown_foreign_use_is_flagged_and_changes_no_outcome() -> None:
    found = decide([node("n1", unmanaged_usage=None)], need(gpus=8))["a"]
    assert (found.outcome, found.foreign_use_unknown) == (Outcome.PROPOSED, True)


def test_other_tenants_are_not_named() -> None:
    theirs = PlacementRequest("theirs/secret", "d", WISH, 1, 6, creation_timestamp="0")
    found = allocate(
        [node("n1")], [theirs, need("b", 2, creation_timestamp="1"), need("c", 4, creation_timestamp="2")], {}, PATIENCE
    )
    message = found["ns/c"].message
    assert "b holds 2 GPUs" in message
    assert "services of other namespaces hold 6 GPUs" in message
    assert "secret" not in message


def test_groups_of_pods_that_must_be_apart_find_the_placement_that_exists() -> None:
    nodes = [node("n1", 2), node("n2", 2), node("n3", 2)]
    found = decide(nodes, need("a", 1, pods=2, min_replicas=3, max_replicas=3, one_pod_per_node=True))["a"]
    assert found.groups == 3
    assert all(found.hosts[group, 0] != found.hosts[group, 1] for group in range(3))


def test_a_service_goes_where_somebody_is_already_so_that_whole_hosts_stay_free() -> None:
    found = decide([node("n1", 4), node("n2", 8, unmanaged_usage=3)], need(gpus=2))["a"]
    assert hosts(found) == ["n2"]


def test_what_fits_once_ill_gpus_are_well_waits() -> None:
    found = decide([node("n1", 7, capacity=8)], need(gpus=8))["a"]
    assert found.outcome is Outcome.PENDING
    assert "has 7 free GPUs, fewer than 8" in found.message


def test_services_that_come_together_are_packed_together_and_nobody_ahead_loses() -> None:
    """One by one, a would open the node of 4 and b alone the last one of 8, and c would find nothing."""
    nodes = [node("n1", 8), node("n2", 4)]
    found = decide(nodes, need("a", 2), need("b", 4, exclusive=True), need("c", 4))
    assert [hosts(found[name]) for name in "abc"] == [["n1"], ["n2"], ["n1"]]


def test_what_more_groups_than_gpus_cost_does_not_grow_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slip in a spec must not stop the decisions for all others."""
    asked: list[int] = []

    def counted(*arguments: Any) -> Any:
        asked.append(1)
        return place_group(*arguments)

    monkeypatch.setattr(filling, "place_group", counted)
    found = decide([node("n1")], need(gpus=1, min_replicas=10_000, max_replicas=10_000))["a"]
    assert found.groups == 8
    assert len(asked) < 30
    assert found.message.endswith("8 of 10000 groups have their GPUs. No service holds GPUs of this kind.")


def test_pods_that_came_by_themselves_make_no_service_the_owner_of_a_host() -> None:
    """Exclusive is what was decided: else one granted GPU and four stray pods would close five hosts."""
    nodes = [node(f"n{it}") for it in range(5)]
    held = {"ns/ex": held_at({(0, 0): "n0"}, 1, exclusive=True)}
    pods = tuple(BoundPod(it, 0, f"n{it}", 1) for it in range(5))
    decided = decide(nodes, need("ex", exclusive=True, bound_pods=pods), need("b", gpus=4, min_replicas=5), held=held)
    assert sorted(hosts(decided["b"])) == ["n1", "n2", "n3", "n4"]
