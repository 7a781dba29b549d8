"""What tells a node's product."""

from __future__ import annotations

import pytest

from app.fit.catalog import ACCELERATORS, Accelerator
from app.settings import Settings
from tests.gpunode.asked import GPU, counters, labeller, node, spec_of, written

BY_DEVICE_ID = [(device_id, item) for item in ACCELERATORS for device_id in item.device_ids]
DECLARED = "inference.ai/gpu-declared-product"


@pytest.mark.parametrize(
    ("device_id", "product"), BY_DEVICE_ID, ids=[f"{item.key} {device_id}" for device_id, item in BY_DEVICE_ID]
)
def test_every_device_id_of_the_catalogue_tells_its_product(device_id: str, product: Accelerator) -> None:
    count = product.island
    asked = node(labeller(device_id=device_id), {GPU: count})
    assert spec_of(asked) == {
        "product": product.key,
        "source": "device-id",
        "gfx": product.gfx,
        "island": product.island,
        "summary": f"{count}",
        "resources": [{"name": GPU, "gpus": count, "capacity": count, "memoryBytes": product.memory_bytes}],
        "labels": {"amd.com/gpu.device-id": device_id, "inference.ai/gpu-product": product.key},
    }
    assert written(asked) == (product.key, None)


@pytest.mark.parametrize("product", ACCELERATORS, ids=lambda item: item.key)
def test_without_a_device_id_the_product_name_tells(product: Accelerator) -> None:
    spec = spec_of(node(labeller(product_name=product.name.replace(" ", "_")), {GPU: product.island}))
    assert (spec["product"], spec["source"]) == (product.key, "product-name")


def test_a_device_id_that_is_not_known_leaves_it_to_the_name() -> None:
    spec = spec_of(node(labeller(device_id="ffff", product_name="AMD_Instinct_MI325X_OAM"), {GPU: 8}))
    assert (spec["product"], spec["source"]) == ("MI325X", "product-name")


@pytest.mark.parametrize("declared", ["MI300X", "mi300x", "AMD_Instinct_MI300X"])
def test_without_labels_of_amd_an_administrator_tells(declared: str) -> None:
    asked = node({DECLARED: declared}, {GPU: 8})
    spec = spec_of(asked)
    assert (spec["product"], spec["source"]) == ("MI300X", "declared")
    assert "contradictions" not in spec
    assert written(asked) == ("MI300X", None)


def test_the_label_of_the_declaration_can_be_another_one() -> None:
    settings = Settings(declared_product_label="example.com/gpu")
    assert spec_of(node({"example.com/gpu": "MI210"}, {GPU: 4}), settings)["product"] == "MI210"


def test_with_no_sign_at_all_the_product_is_unknown_and_the_gpus_are_counted() -> None:
    asked = node(offered={GPU: 8})
    assert spec_of(asked) == {
        "source": "unknown",
        "summary": "8",
        "resources": [{"name": GPU, "gpus": 8, "capacity": 8}],
    }
    assert written(asked) == (None, None)


def test_a_product_that_the_catalogue_lacks_still_has_the_memory_of_its_label() -> None:
    spec = spec_of(node(labeller(device_id="ffff", vram="96G"), {GPU: 8}))
    assert "product" not in spec
    assert spec["resources"][0]["memoryBytes"] == 96 * 1024**3


@pytest.mark.parametrize("wrong", ["192", "196608", "0G", "192Gi", "-1G", "١G"])
def test_a_vram_label_that_the_labeller_would_not_write_says_nothing(wrong: str) -> None:
    [resource] = spec_of(node(labeller(vram=wrong), {GPU: 8}))["resources"]
    assert "memoryBytes" not in resource


def test_the_graphics_of_the_processor_are_no_second_product() -> None:
    spec = spec_of(node(counters(device_id={"7448": 4, "164e": 1}), {GPU: 4}))
    assert (spec["product"], spec["source"]) == ("W7900", "device-id")


def test_two_products_in_one_node_count_as_unknown() -> None:
    asked = node(counters(device_id={"74a1": 4, "740f": 4}), {GPU: 8})
    spec = spec_of(asked)
    assert (spec.get("product"), spec["source"]) == (None, "unknown")
    assert spec["contradictions"] == [
        "Labels tell 2 products, MI210 and MI300X: a pod cannot choose between GPUs of one node, so the product counts "
        "as unknown."
    ]
    assert written(asked) == (None, None)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        pytest.param(
            labeller(device_id="74a1", product_name="AMD_Instinct_MI325X_OAM"),
            "Label amd.com/gpu.product-name tells MI325X, the PCI device id 74a1 tells MI300X: the device id counts.",
            id="another name",
        ),
        pytest.param(
            labeller(device_id="74a1") | {DECLARED: "MI325X"},
            "The declared product is MI325X, AMD's labels tell MI300X: AMD's labels count.",
            id="another declaration",
        ),
        pytest.param(
            labeller(device_id="74a1") | {DECLARED: "B200"},
            "The declared product B200 is none that the operator knows.",
            id="an unknown declaration",
        ),
    ],
)
def test_what_tells_another_product_is_told_and_does_not_count(labels: dict[str, str], sentence: str) -> None:
    spec = spec_of(node(labels, {GPU: 8}))
    assert spec["product"] == "MI300X"
    assert spec["contradictions"] == [sentence]


def test_an_unknown_declaration_alone_is_told() -> None:
    spec = spec_of(node({DECLARED: "B200"}, {GPU: 8}))
    assert spec["contradictions"] == ["The declared product B200 is none that the operator knows."]


def test_mi250_is_known_by_the_device_id_that_it_shares_with_mi250x() -> None:
    spec = spec_of(node(labeller(device_id="740c", product_name="AMD_Instinct_MI250"), {GPU: 8}))
    assert spec["product"] == "MI250X"
    assert "contradictions" not in spec
