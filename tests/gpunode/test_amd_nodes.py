"""Which nodes get a GPUNode."""

from __future__ import annotations

import pytest

from app.settings import Settings
from tests.gpunode.asked import GPU, ask, labeller, node, spec_of, written
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node

SELECTED = Settings(node_selector={"accelerator": "amd-gpu", "team": "ml"})


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(node(labeller(vram="192G")), id="a label of AMD's labeller"),
        pytest.param(node({"beta.amd.com/gpu.family.AI": "8"}), id="a beta label"),
        pytest.param(node(offered={GPU: 8}), id="allocatable GPUs"),
        pytest.param(node(capacity={GPU: 8}), id="GPUs that are all unhealthy"),
        pytest.param(node(offered={"amd.com/cpx_nps4": 64}), id="allocatable partitions"),
        pytest.param(node({"feature.node.kubernetes.io/amd-gpu": "true"}), id="feature discovery"),
    ],
)
def test_a_node_is_amd_by(asked: Object) -> None:
    assert len(ask(asked).attachments) == 1


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(node(), id="nothing"),
        pytest.param(node(offered={GPU: 0}), id="a resource that kubelet remembers as 0"),
        pytest.param(node(offered={"amd.com/nic": 8, "nvidia.com/gpu": 8}), id="other devices"),
        pytest.param(node({"amd.com/cpu": "epyc", "feature.node.kubernetes.io/amd-gpu": "false"}), id="other labels"),
        pytest.param(node({"accelerator": "amd-gpu"}), id="a label that no setting names"),
    ],
)
def test_a_node_is_not_amd_by(asked: Object) -> None:
    assert ask(asked).attachments == []
    assert written(asked) == (None, None)


def test_the_configured_selector_makes_an_amd_node_when_all_its_labels_are_there() -> None:
    assert ask(node({"accelerator": "amd-gpu"}), SELECTED).attachments == []
    spec = spec_of(node({"accelerator": "amd-gpu", "team": "ml"}), SELECTED)
    assert spec["source"] == "unknown"
    assert spec["contradictions"] == [
        "The node is marked as a GPU node but offers no GPUs: is AMD's device plugin running on it?"
    ]


def test_gpus_may_have_a_resource_name_of_the_administrators() -> None:
    settings = Settings(gpu_resource="example.com/mi300x")
    [resource] = spec_of(node(offered={"example.com/mi300x": 8}), settings)["resources"]
    assert (resource["name"], resource["gpus"]) == ("example.com/mi300x", 8)


def test_labels_that_are_no_longer_true_are_removed_with_the_gpunode() -> None:
    before = build_node(0)
    assert written(before) == ("MI300X", "spx_nps1")
    after = node({"inference.ai/gpu-product": "MI300X", "inference.ai/gpu-partition": "spx_nps1"})
    assert ask(after).attachments == []
    assert written(after) == (None, None)
