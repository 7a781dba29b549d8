"""What a GPUNode repeats of its Node's labels."""

from __future__ import annotations

from app.settings import Settings
from tests.gpunode.asked import GPU, node, spec_of
from tools.sandbox.nodes import build_node


def test_labels_that_selectors_ask_for_are_kept_and_counters_are_not() -> None:
    kept = {
        "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM",
        "example.com/team": "ml",
        "feature.node.kubernetes.io/amd-gpu": "true",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": "n1",
        "node-role.kubernetes.io/gpu": "",
        "node.kubernetes.io/instance-type": "bm.gpu.mi300x.8",
        "topology.kubernetes.io/zone": "z",
    }
    dropped = {
        "beta.amd.com/gpu.vram.192G": "8",
        "beta.kubernetes.io/arch": "amd64",
        "failure-domain.beta.kubernetes.io/zone": "z",
        "feature.node.kubernetes.io/cpu-cpuid.AVX512F": "true",
        "feature.node.kubernetes.io/kernel-version.full": "6.8.0",
        "metricsexporter.amd.com.gpu.1.state": "unhealthy",
    }
    labels = spec_of(node(dropped | kept, {GPU: 8}))["labels"]
    assert labels == kept | {"inference.ai/gpu-product": "MI300X"}
    assert list(labels) == sorted(labels)


def test_the_operators_own_labels_are_as_they_will_be() -> None:
    old = {"inference.ai/gpu-product": "MI210", "inference.ai/gpu-partition": "cpx_nps4"}
    assert "labels" not in spec_of(node(old, {GPU: 8}))


def test_zone_block_and_rack_come_from_the_usual_labels() -> None:
    spec = spec_of(build_node(0, rack="rack-7", block="block-2"))
    assert (spec["zone"], spec["block"], spec["rack"]) == ("zone-a", "block-2", "rack-7")


def test_zone_block_and_rack_come_from_the_labels_that_the_settings_name() -> None:
    settings = Settings(zone_label="z", block_label="b", rack_label="r")
    spec = spec_of(node({"z": "1", "b": "", "r": "3"}, {GPU: 8}), settings)
    assert (spec["zone"], spec.get("block"), spec["rack"]) == ("1", None, "3")
