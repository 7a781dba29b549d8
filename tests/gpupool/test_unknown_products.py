"""Nodes whose GPUs nobody can tell: what waiting services are told, in the cluster and by `plan` alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from app.gpunode.sync import sync as decorate
from app.metacontroller.protocol import DecorateRequest, Parent
from app.settings import Settings
from tests.cli.questions import batch
from tests.gpupool.pool import Pool, request
from tools.sandbox.api import Object

LABEL = "inference.ai/gpu-declared-product"
SERVICE = {
    "apiVersion": "inference.ai/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "a", "namespace": "team"},
    "spec": {"model": {"name": "Qwen/Qwen3-8B"}, "resources": {"totalGpus": 1}},
}


def node(labels: Mapping[str, str], gpus: int = 8) -> Object:
    offers = {"amd.com/gpu": str(gpus)} if gpus else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n", "labels": {"kubernetes.io/hostname": "n", "accelerator": "amd-gpu", **labels}},
        "status": {"allocatable": offers, "capacity": offers, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def gpu_node(of: Object) -> Object:
    """What the operator makes of a Node."""
    parts = {key: of.get(key, {}) for key in ("metadata", "status", "spec")}
    answer = decorate(DecorateRequest(object=Parent(**parts)), Settings())
    [made] = answer.attachments
    return {**made, "status": {"observed": True}}


def told(of: Object, **shape: Any) -> tuple[str, str]:
    pool = Pool()
    asked = request("team/a", 1, shapes=[{"product": "MI300X", "tensor": 1, "pipeline": 1, "data": 1}], **shape)
    for _ in range(2):
        phases = pool.sync([gpu_node(of)], [asked])
    return phases["team/a"], pool.allocations["team/a"].get("message", "")


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({}, id="AMD's labels are gone"),
        pytest.param({"amd.com/gpu.device-id": "ffff"}, id="a device id that is not in the catalogue"),
        pytest.param({"amd.com/gpu.product-name": "AMD_Instinct_MI999X"}, id="a name that is not in the catalogue"),
        pytest.param({LABEL: "MI999X"}, id="a declared product that does not exist"),
    ],
)
def test_an_unknown_product_is_unknown_and_the_label_is_named(labels: dict[str, str]) -> None:
    phase, message = told(node(labels))
    assert phase == "Pending"
    assert f"until its label {LABEL} names one, for example {LABEL}=MI300X" in message
    [answer] = batch([{"service": SERVICE, "nodes": [node(labels)]}])
    assert answer["outcome"] == "unknown"
    assert LABEL in " ".join(answer["reasons"])


def test_the_label_ends_the_wait() -> None:
    phase, _ = told(node({LABEL: "MI300X"}))
    assert phase == "Bound"
    [answer] = batch([{"service": SERVICE, "nodes": [node({LABEL: "MI300X"})]}])
    assert answer["outcome"] == "fit"


def test_a_partitioned_node_is_told_as_one_by_both() -> None:
    parts = node({"amd.com/gpu.compute-memory-partition": "cpx_nps4", "amd.com/gpu.device-id": "74a1"})
    phase, message = told(parts)
    assert phase == "Impossible"
    assert "1 of 1 nodes is partitioned cpx_nps4, and whole GPUs are asked for" in message
    [answer] = batch([{"service": SERVICE, "nodes": [parts]}])
    assert answer["outcome"] == "impossible"
    assert "is partitioned cpx_nps4" in " ".join(answer["reasons"])


def test_a_labelled_node_that_offers_no_gpus_is_named() -> None:
    phase, message = told(node({"amd.com/gpu.device-id": "74a1"}, gpus=0))
    assert phase == "Unknown"
    assert message.endswith("n carries the signs of AMD GPUs and offers none: look at AMD's device plugin there.")
