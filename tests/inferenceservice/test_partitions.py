"""resources.gpu.partition of a model of which nothing is known: what is asked, and where pods go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.inferenceservice.service import call, pod, spec
from tests.inferenceservice.test_pools import asked, granted


def cut(**gpu: Any) -> dict[str, Any]:
    return spec(resources={"gpu": {"count": 2} | gpu})


def shapes(given: dict[str, Any]) -> list[str]:
    return [it.get("product", "") for it in asked(given).child("GPURequest")["spec"]["shapes"]]


def terms(spec: dict[str, Any]) -> list[Any]:
    found: list[Any] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    return found


def test_the_products_that_have_the_mode_are_asked_for() -> None:
    assert "MI300X-CPX-NPS4" in shapes(cut(partition="cpx_nps4"))
    assert all(it.endswith("-CPX-NPS4") for it in shapes(cut(partition="cpx_nps4")))
    assert shapes(spec()) == [""]
    assert shapes(cut(resource="amd.com/cpx_nps4")) == [""]
    assert shapes(cut(resource="amd.com/cpx_nps4", partition="cpx_nps4")) == [""]


def test_another_partition_is_another_request() -> None:
    digests = {
        asked(given).child("GPURequest")["spec"]["digest"]
        for given in (spec(resources={"totalGpus": 2}), cut(partition="cpx_nps4"), cut(partition="dpx_nps1"))
    }
    assert len(digests) == 3


def test_pods_go_to_the_granted_product_in_that_mode() -> None:
    [term] = terms(pod(granted(cut(partition="cpx_nps4"))))
    rules = {it["key"]: it["values"] for it in term["matchExpressions"]}
    assert rules["inference.ai/gpu-partition"] == ["cpx_nps4"]
    [product] = rules["inference.ai/gpu-product"]
    assert "CPX" not in product


def test_without_pools_pods_go_to_nodes_in_that_mode() -> None:
    [term] = terms(pod(call(cut(partition="cpx_nps4"))))
    assert term["matchExpressions"] == [{"key": "inference.ai/gpu-partition", "operator": "In", "values": ["cpx_nps4"]}]
    assert "nodeAffinity" not in pod(call(spec())).get("affinity", {})


def test_a_resource_and_a_partition_of_different_modes_are_refused() -> None:
    ready = call(cut(resource="amd.com/dpx_nps1", partition="cpx_nps4")).condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ConfigurationError")
    assert "amd.com/dpx_nps1 offers partitions in mode dpx_nps1" in ready["message"]
    assert "partition asks for cpx_nps4" in ready["message"]


@pytest.mark.parametrize("partition", ["cpx", "DPX_NPS1", "hpx_nps9"])
def test_a_mode_that_is_none_is_told_by_an_example(partition: str) -> None:
    message = call(cut(partition=partition)).condition("Ready")["message"]
    assert "spec.resources.gpu.partition is not accepted" in message
    assert "for example cpx_nps4" in message
    assert "^(" not in message
