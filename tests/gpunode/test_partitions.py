"""Partition modes, counts and memory, and what a repartition leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from app.fit.catalog import find_accelerator, partitioned
from tests.gpunode.asked import GPU, counters, labeller, node, spec_of, written
from tools.sandbox.api import Object
from tools.sandbox.nodes import PRODUCTS, build_node

MI300X = labeller(device_id="74a1")
WHOLE = 206_141_652_992
EIGHTH = WHOLE // 8


def resource(asked: Object) -> Any:
    [found] = spec_of(asked)["resources"]
    return found


def gpus(name: str, count: int, partition: str | None, memory: int | None) -> Object:
    said = {"partition": partition, "memoryBytes": memory}
    return {"name": name, "gpus": count, "capacity": count} | {k: v for k, v in said.items() if v is not None}


@pytest.mark.parametrize("naming", ["single", "mixed"])
@pytest.mark.parametrize(("mode", "parts"), [("spx_nps1", 1), ("dpx_nps1", 2), ("qpx_nps1", 4), ("cpx_nps4", 8)])
@pytest.mark.parametrize("product", ["MI300X", "MI325X", "MI355X"])
def test_a_node_in_order_contradicts_nothing(product: str, mode: str, parts: int, naming: Any) -> None:
    asked = build_node(0, product=product, partition=mode, naming=naming)
    spec = spec_of(asked)
    whole = find_accelerator(device_id=PRODUCTS[product].device_id)
    share = partitioned(whole, mode) if whole else None
    assert share is not None
    name = GPU if naming == "single" else f"amd.com/{mode}"
    assert spec["resources"] == [gpus(name, 8 * parts, mode, share.memory_bytes)]
    assert spec["island"] == share.island
    assert "contradictions" not in spec
    assert written(asked) == (product, mode)


@pytest.mark.parametrize("product", ["MI210", "W7900"])
@pytest.mark.parametrize("naming", ["single", "mixed"])
def test_products_without_partitions_have_no_mode(product: str, naming: Any) -> None:
    asked = build_node(0, product=product, naming=naming)
    assert "contradictions" not in spec_of(asked)
    assert "partition" not in resource(asked)
    assert written(asked) == (product, None)


def test_without_a_label_a_mode_is_not_told_and_the_gpus_are_taken_for_whole_ones() -> None:
    asked = node(MI300X, {GPU: 8})
    assert resource(asked) == gpus(GPU, 8, None, WHOLE)
    assert written(asked) == ("MI300X", None)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"beta.amd.com/gpu.compute-memory-partition": "cpx_nps4"}, id="the beta label"),
        pytest.param(counters(compute_memory_partition={"cpx_nps4": 64}), id="a counter alone"),
        pytest.param({"amd.com/gpu.compute-memory-partition": "CPX_NPS4"}, id="in capitals"),
    ],
)
def test_every_label_that_all_gpus_share_tells_the_mode(labels: dict[str, str]) -> None:
    asked = node(MI300X | labels, {GPU: 64})
    assert resource(asked) == gpus(GPU, 64, "cpx_nps4", EIGHTH)
    assert written(asked) == ("MI300X", "cpx_nps4")


def test_two_modes_in_one_node_are_two_resources_and_no_label() -> None:
    labels = MI300X | counters(vram={"192G": 4, "24G": 32}, device_id={"74a1": 8})
    asked = node(labels, {"amd.com/spx_nps1": 4, "amd.com/cpx_nps4": 32})
    spec = spec_of(asked)
    assert spec["resources"] == [
        gpus("amd.com/cpx_nps4", 32, "cpx_nps4", EIGHTH),
        gpus("amd.com/spx_nps1", 4, "spx_nps1", WHOLE),
    ]
    assert spec["island"] == 4
    assert "contradictions" not in spec
    assert written(asked) == ("MI300X", None)


def test_a_name_that_kubelet_remembers_as_0_is_no_resource() -> None:
    asked = node(MI300X, {"amd.com/spx_nps1": 0, "amd.com/cpx_nps4": 64})
    assert resource(asked) == gpus("amd.com/cpx_nps4", 64, "cpx_nps4", EIGHTH)


def test_a_mode_that_the_catalogue_lacks_leaves_memory_and_island_unknown() -> None:
    spec = spec_of(node(labeller(device_id="74a2"), {"amd.com/cpx_nps1": 32}))
    assert spec["product"] == "MI308X"
    assert spec["resources"] == [gpus("amd.com/cpx_nps1", 32, "cpx_nps1", None)]
    assert "island" not in spec


def test_a_small_node_has_a_small_island() -> None:
    assert spec_of(node(MI300X, {GPU: 4}))["island"] == 4


def test_labels_alone_tell_the_island_of_a_node_without_device_plugin() -> None:
    spec = spec_of(node(MI300X))
    assert (spec["island"], spec.get("resources")) == (8, None)


STALE_COUNT = (
    "Labels count 8 GPUs (device-id and vram), the device plugin found 64 amd.com/gpu: the device plugin counts. "
    "Restart AMD's node labeller."
)
IMPOSSIBLE = (
    "64 amd.com/gpu cannot be MI300X in mode spx_nps1, which makes 1 of each GPU; a node has at most 8 whole MI300X. "
    "Restart AMD's node labeller and device plugin."
)


@pytest.mark.parametrize(
    ("asked", "expected", "mode", "sentences"),
    [
        pytest.param(
            node(
                labeller(device_id="74a1", vram="192G", compute_memory_partition="spx_nps1")
                | counters(device_id={"74a1": 8}, vram={"192G": 8}),
                {GPU: 64},
            ),
            gpus(GPU, 64, "unknown", EIGHTH),
            "unknown",
            [STALE_COUNT, IMPOSSIBLE],
            id="repartitioned, the labeller was not restarted",
        ),
        pytest.param(
            node(MI300X, {GPU: 64}),
            gpus(GPU, 64, "unknown", EIGHTH),
            "unknown",
            ["64 amd.com/gpu must be partitions; a node has at most 8 whole MI300X, but no label tells their mode."],
            id="repartitioned, the labeller tells no modes",
        ),
        pytest.param(
            node(
                labeller(device_id="74a1", vram="192G", compute_memory_partition="spx_nps1"), {"amd.com/cpx_nps4": 64}
            ),
            gpus("amd.com/cpx_nps4", 64, "cpx_nps4", EIGHTH),
            "cpx_nps4",
            [
                "Label amd.com/gpu.compute-memory-partition tells spx_nps1, the resource names tell cpx_nps4: the "
                "names count. Restart AMD's node labeller.",
                "Label amd.com/gpu.vram tells 192G, but MI300X-CPX-NPS4 has 24G: the smaller counts. "
                "Restart AMD's node labeller.",
            ],
            id="the resource name tells another mode",
        ),
        pytest.param(
            node(labeller(device_id="74a1", vram="192G", compute_memory_partition="cpx_nps4"), {GPU: 8}),
            gpus(GPU, 8, "unknown", EIGHTH),
            "unknown",
            [
                "Label amd.com/gpu.vram tells 192G, but MI300X-CPX-NPS4 has 24G: the smaller counts. "
                "Restart AMD's node labeller."
            ],
            id="vram is of before the repartition",
        ),
        pytest.param(
            node(labeller(device_id="74a1", vram="24G"), {GPU: 8}),
            gpus(GPU, 8, "unknown", 24 * 1024**3),
            "unknown",
            ["Label amd.com/gpu.vram tells 24G, but MI300X has 192G: the smaller counts. Restart AMD's node labeller."],
            id="only vram tells of partitions",
        ),
        pytest.param(
            node(labeller(device_id="74a5", compute_memory_partition="cpx_nps1"), {GPU: 63}),
            gpus(GPU, 63, "unknown", find_accelerator("74a5").memory_bytes // 8),  # type: ignore[union-attr]
            "unknown",
            [
                "63 amd.com/gpu cannot be MI325X in mode cpx_nps1, which makes 8 of each GPU; a node has at most 8 "
                "whole MI325X. Restart AMD's node labeller and device plugin."
            ],
            id="a partition is missing",
        ),
        pytest.param(
            node(labeller(device_id="74a1", vram="188G", compute_memory_partition="spx_nps1"), {GPU: 8}),
            gpus(GPU, 8, "spx_nps1", 188 * 1024**3),
            "spx_nps1",
            [
                "Label amd.com/gpu.vram tells 188G, but MI300X has 192G: the smaller counts. "
                "Restart AMD's node labeller."
            ],
            id="a driver that reserves memory",
        ),
        pytest.param(
            node(labeller(device_id="74a1") | counters(device_id={"74a1": 8}, vram={"192G": 4}), {GPU: 6}),
            gpus(GPU, 6, None, WHOLE),
            None,
            [
                "Labels count 4 GPUs (vram) and 8 GPUs (device-id), the device plugin found 6 amd.com/gpu: the device "
                "plugin counts. Restart AMD's node labeller."
            ],
            id="every sign counts differently",
        ),
    ],
)
def test_after_a_repartition_the_plugin_counts_and_memory_is_the_least(
    asked: Object, expected: Object, mode: str | None, sentences: list[str]
) -> None:
    assert resource(asked) == expected
    assert spec_of(asked).get("contradictions", []) == sentences
    product, partition = written(asked)
    assert (product, partition) == (spec_of(asked)["product"], mode)


def test_in_doubt_the_island_is_unknown() -> None:
    assert "island" not in spec_of(node(MI300X, {GPU: 64}))


def test_what_a_user_writes_as_partition_is_not_believed() -> None:
    assert written(node(labeller(device_id="74a1", compute_memory_partition="fast"), {GPU: 8})) == ("MI300X", None)
