"""Where it goes and why the other nodes were not taken: reasons with numbers that are all nodes together."""

from __future__ import annotations

from typing import Any

from tests.cli.questions import Json, nodes, one, service
from tools.sandbox.nodes import build_node

TAINT = {"taints": [{"key": "maintenance", "effect": "NoSchedule"}]}
SEVENTY = "meta-llama/Llama-3.3-70B-Instruct"


def all_nodes(answer: Json) -> int:
    return int(sum(answer["excluded"].values()) + len(answer["nodes"]))


def few_labels(name: str, **labels: str) -> Json:
    """A node of which little is told."""
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": {"amd.com/gpu": "8"}}}


def test_every_node_that_was_not_taken_is_counted_once() -> None:
    cluster = [
        *nodes(2),
        build_node(2) | {"spec": TAINT},
        build_node(0, prefix="mi210", product="MI210", gpus=4),
        build_node(0, prefix="cpu", product=None),
        build_node(0, prefix="mixed", naming="mixed", partition="cpx_nps4"),
        few_labels("empty", accelerator="amd-gpu") | {"status": {}},
    ]
    answer = one(service(SEVENTY, 8), cluster)
    assert answer["outcome"] == "fit"
    assert answer["excluded"] == {
        "has 4 free GPUs, fewer than 8": 1,
        "has 8 free GPUs": 1,
        "has no AMD GPUs": 2,
        "has the taint maintenance:NoSchedule": 1,
        "offers amd.com/cpx_nps4, not amd.com/gpu": 1,
    } | {key: answer["excluded"][key] for key in answer["excluded"] if key.startswith("MI210")}
    assert all_nodes(answer) == len(cluster)


def test_a_node_with_gpus_under_two_names_is_one_node() -> None:
    node = build_node(0)
    node["status"]["allocatable"] = {"amd.com/gpu": "4", "amd.com/cpx_nps4": "32"}
    node["status"]["capacity"] = dict(node["status"]["allocatable"])
    assert all_nodes(one(service(), [node])) == 1
    assert all_nodes(one(service(gpus=8), [node])) == 1
    elsewhere = one(service(resources={"gpu": {"resource": "amd.com/dpx_nps1"}}), [node])
    assert (elsewhere["outcome"], all_nodes(elsewhere)) == ("impossible", 1)


def test_what_is_ill_is_waited_for_and_what_is_not_there_is_impossible() -> None:
    ill = [build_node(0) | {"spec": TAINT}]
    assert one(service(SEVENTY, 8), ill)["outcome"] == "pending"
    assert one(service(SEVENTY, 8), nodes(3, gpus=4))["outcome"] == "impossible"
    assert one(service(SEVENTY, 8), [build_node(0, product=None)])["outcome"] == "unknown"
    assert one(service(SEVENTY, 8), [])["outcome"] == "unknown"


def test_a_pending_service_shows_the_sizes_that_it_would_get() -> None:
    answer = one(service(SEVENTY, 8, resources={"autoOptimize": True}), [build_node(0) | {"spec": TAINT}])
    assert (answer["product"], answer["tensorParallel"] * answer["dataParallel"], answer["nodes"]) == ("MI300X", 8, [])
    assert answer["memory"]["maxSequences"] >= 1


def test_groups_that_find_no_place_keep_the_service_pending() -> None:
    two, three = (one(service(SEVENTY, 8, replicas=count), nodes(2)) for count in (2, 3))
    assert (two["outcome"], [node["gpus"] for node in two["nodes"]]) == ("fit", [8, 8])
    assert three["outcome"] == "pending"
    assert "2 of 3 groups have their GPUs" in three["reasons"][0]


def test_a_group_over_several_nodes_is_placed_whole() -> None:
    asked = service(
        "deepseek-ai/DeepSeek-R1",
        16,
        distributed={"enabled": True, "workerReplicas": 1},
        resources={"autoOptimize": True},
    )
    assert [node["gpus"] for node in one(asked, nodes(3))["nodes"]] == [8, 8]
    assert one(asked, nodes(1))["outcome"] == "impossible"


def test_an_exclusive_service_takes_only_nodes_that_are_whole() -> None:
    small = [*nodes(1, gpus=4), build_node(1, gpus=2)]
    answer = one(service(gpus=2, resources={"sharing": "exclusive"}), small)
    assert answer["nodes"] == [{"name": "mi300x-1", "gpus": 2}]
    assert one(service(gpus=8, resources={"sharing": "exclusive"}), small)["outcome"] == "impossible"


def test_few_labels_are_enough_where_they_tell_the_product() -> None:
    told: list[dict[str, Any]] = [
        few_labels("a", **{"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}),
        few_labels("b", **{"amd.com/gpu.device-id": "74a1"}),
        few_labels("c", **{"beta.amd.com/gpu.product-name.AMD_Instinct_MI300X_OAM": "8"}),
        few_labels("d", **{"inference.ai/gpu-declared-product": "MI300X"}),
    ]
    for node in told:
        answer = one(service(SEVENTY), [node])
        assert (answer["outcome"], answer["product"]) == ("fit", "MI300X"), node
    assert one(service("org/unknown"), [few_labels("e")])["outcome"] == "unknown"


def test_a_node_of_an_unknown_product_is_not_called_too_small() -> None:
    answer = one(service(SEVENTY), [few_labels("nameless")])
    assert (answer["outcome"], answer["nodes"]) == ("unknown", [])
    assert any("until its label inference.ai/gpu-declared-product names one" in it for it in answer["reasons"])
    assert one(service(SEVENTY, 16), [few_labels("nameless")])["outcome"] == "impossible"


def test_an_edit_of_both_spellings_is_read_alike() -> None:
    first = one(service(SEVENTY, 4, resources={"sharing": "exclusive"}), nodes())
    second = service(SEVENTY)
    second["spec"]["resources"] = {"gpu": {"count": 4, "strategy": "exclusive"}}
    assert one(second, nodes()) == first


def test_weights_that_are_yet_to_be_fetched_are_planned_as_if_they_were_there() -> None:
    asked = service({"name": "anything", "source": "huggingface://Qwen/Qwen3-8B"})
    assert one(asked)["outcome"] == "fit"
    assert one(service("anything", storage={"modelCache": "weights"}))["outcome"] == "unknown"


def test_ssh_keys_that_are_yet_to_be_made_are_no_obstacle() -> None:
    asked = service("deepseek-ai/DeepSeek-R1", 16, distributed={"enabled": True, "size": 2, "mpi": {"enabled": True}})
    answer = one(asked, nodes(2))
    assert answer["outcome"] == "fit", answer
    assert not any("ssh" in reason for reason in answer["reasons"])
