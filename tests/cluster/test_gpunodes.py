"""Nodes become GPUNodes, and nothing else about Nodes does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from app.api.v1alpha1.gpunode import PARTITION_LABEL, PRODUCT_LABEL
from tests.cluster.world import API, RESYNC_SECONDS
from tools.sandbox.api import Object
from tools.sandbox.audit import AuditEvent
from tools.sandbox.cluster import Cluster, wait_until
from tools.sandbox.metacontroller import USER as METACONTROLLER
from tools.sandbox.nodes import PRODUCTS, build_node, labeller_labels
from tools.sandbox.operator import Operator

GPU = "amd.com/gpu"


@pytest.fixture
def cluster(operator: Operator) -> Cluster:
    return operator.cluster


@pytest.fixture
def create(cluster: Cluster) -> Iterator[Callable[..., str]]:
    """Creates a node that goes away with the test, for the other tests count on four."""
    names: list[str] = []

    def created(**shape: Any) -> str:
        node = build_node(0, prefix="extra", **shape)
        cluster.create_nodes([node])
        names.append(node["metadata"]["name"])
        return names[-1]

    yield created
    for name in names:
        cluster.delete("v1", "Node", name)
        cluster.wait_gone(API, "GPUNode", name, None)


def gpunode(cluster: Cluster, name: str, **spec: Any) -> Object:
    """Wait for a GPUNode whose spec has these values."""
    found = cluster.wait_for(
        API,
        "GPUNode",
        name,
        None,
        lambda it: all(it["spec"].get(field) == value for field, value in spec.items()),
        describe=f"with {spec}",
    )
    content: Object = found["spec"]
    return content


def labels(cluster: Cluster, name: str) -> tuple[str | None, str | None]:
    node = cluster.get("v1", "Node", name)
    assert node is not None
    return node["metadata"]["labels"].get(PRODUCT_LABEL), node["metadata"]["labels"].get(PARTITION_LABEL)


def wait_labels(cluster: Cluster, name: str, product: str | None, partition: str | None) -> None:
    wait_until(lambda: labels(cluster, name) == (product, partition), f"{name} is labelled {product}, {partition}")


def relabel(cluster: Cluster, name: str, changed: dict[str, str | None]) -> None:
    cluster.patch("v1", "Node", name, None, {"metadata": {"labels": changed}})


def offer(cluster: Cluster, name: str, amounts: dict[str, str | None]) -> None:
    """What the device plugin does through kubelet."""
    status = {"status": {"capacity": amounts, "allocatable": amounts}}
    cluster.patch("v1", "Node", name, None, status, subresource="status")


def writes(cluster: Cluster, name: str, since: datetime) -> list[AuditEvent]:
    """What Metacontroller wrote about a node: the Node, its GPUNode, and events."""
    return [it for it in cluster.audit_writes(since) if it.user == METACONTROLLER and it.name.startswith(name)]


def settled(cluster: Cluster, name: str) -> None:
    """Wait until nothing more is written about a node, for a resync period: its first conditions come in late."""

    def is_quiet() -> bool:
        since = cluster.now()
        time.sleep(RESYNC_SECONDS + 1)
        return not writes(cluster, name, since)

    wait_until(is_quiet, f"no more writes about {name}")


def test_every_node_with_gpus_has_its_gpunode_and_labels(cluster: Cluster) -> None:
    for index in range(4):
        name = f"mi300x-{index}"
        spec = gpunode(cluster, name, product="MI300X", zone=f"zone-{'ab'[index % 2]}")
        assert [(it["name"], it["gpus"]) for it in spec["resources"]] == [(GPU, 8)]
        wait_labels(cluster, name, "MI300X", "spx_nps1")


def test_a_node_without_gpus_has_none(cluster: Cluster, create: Callable[..., str]) -> None:
    name = create(product=None)
    time.sleep(RESYNC_SECONDS + 1)
    assert cluster.get(API, "GPUNode", name, None) is None
    assert labels(cluster, name) == (None, None)


def test_a_gpunode_belongs_to_its_node_and_goes_with_it(cluster: Cluster, create: Callable[..., str]) -> None:
    name = create(rack="rack-1", block="block-1", product="MI355X", partition="cpx_nps2", naming="mixed")
    spec = gpunode(cluster, name, product="MI355X", rack="rack-1", block="block-1")
    [resource] = spec["resources"]
    assert (resource["name"], resource["gpus"], resource["partition"]) == ("amd.com/cpx_nps2", 64, "cpx_nps2")
    wait_labels(cluster, name, "MI355X", "cpx_nps2")
    found = cluster.get(API, "GPUNode", name, None)
    assert found is not None
    [owner] = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Node", name, True)
    cluster.delete("v1", "Node", name)
    cluster.wait_gone(API, "GPUNode", name, None)


def test_an_edited_label_corrects_gpunode_and_node(cluster: Cluster, create: Callable[..., str]) -> None:
    name = create()
    wait_labels(cluster, name, "MI300X", "spx_nps1")
    relabel(cluster, name, {PRODUCT_LABEL: "MI210", PARTITION_LABEL: None})
    wait_labels(cluster, name, "MI300X", "spx_nps1")
    old, new = labeller_labels(PRODUCTS["MI300X"], 8), labeller_labels(PRODUCTS["MI325X"], 8)
    relabel(cluster, name, {**dict.fromkeys(old), **new})
    spec = gpunode(cluster, name, product="MI325X")
    assert spec["contradictions"] == []
    wait_labels(cluster, name, "MI325X", "spx_nps1")


def test_a_repartition_is_noticed_before_amds_labels_are(cluster: Cluster, create: Callable[..., str]) -> None:
    name = create(naming="mixed")
    gpunode(cluster, name, product="MI300X", contradictions=[])
    offer(cluster, name, {"amd.com/spx_nps1": "0", "amd.com/cpx_nps4": "64"})
    wait_labels(cluster, name, "MI300X", "cpx_nps4")
    spec = gpunode(cluster, name, product="MI300X")
    assert any("tells spx_nps1, the resource names tell cpx_nps4" in it for it in spec["contradictions"])
    relabel(cluster, name, {**labeller_labels(PRODUCTS["MI300X"], 8, "cpx_nps4"), **stale_counters()})
    gpunode(cluster, name, contradictions=[])


def stale_counters() -> dict[str, str | None]:
    """The counters of whole GPUs, to be removed."""
    before = labeller_labels(PRODUCTS["MI300X"], 8)
    after = labeller_labels(PRODUCTS["MI300X"], 8, "cpx_nps4")
    return {label: None for label in before if label not in after}


def test_without_any_sign_of_amd_a_node_loses_gpunode_and_labels(cluster: Cluster, create: Callable[..., str]) -> None:
    name = create()
    wait_labels(cluster, name, "MI300X", "spx_nps1")
    relabel(cluster, name, dict.fromkeys(labeller_labels(PRODUCTS["MI300X"], 8)))
    gpunode(cluster, name, product=None, source="unknown")
    relabel(cluster, name, {"accelerator": None})
    offer(cluster, name, {GPU: None})
    cluster.wait_gone(API, "GPUNode", name, None)
    wait_labels(cluster, name, None, None)


def test_a_cordoned_and_a_lost_node_say_so(cluster: Cluster, create: Callable[..., str]) -> None:
    name = create()
    gpunode(cluster, name, taints=[], notReadySince=None)
    cluster.patch("v1", "Node", name, None, {"spec": {"unschedulable": True}})
    gpunode(cluster, name, taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])
    fail(cluster, name, "true")
    cluster.wait_for(API, "GPUNode", name, None, lambda it: "notReadySince" in it["spec"], describe="not ready")
    fail(cluster, name, None)
    cluster.patch("v1", "Node", name, None, {"spec": {"unschedulable": False}})
    gpunode(cluster, name, taints=[], notReadySince=None)


def fail(cluster: Cluster, name: str, value: str | None) -> None:
    cluster.patch("v1", "Node", name, None, {"metadata": {"annotations": {"sandbox.inference.ai/fail": value}}})


def test_heartbeats_and_resyncs_write_nothing(cluster: Cluster, create: Callable[..., str]) -> None:
    name = create()
    wait_labels(cluster, name, "MI300X", "spx_nps1")
    settled(cluster, name)
    since = cluster.now()
    for number in range(RESYNC_SECONDS + 2):
        beat(cluster, name, number)
        time.sleep(1)
    assert writes(cluster, name, since) == []


def beat(cluster: Cluster, name: str, number: int) -> None:
    """A heartbeat of kubelet: times, images, and an annotation besides."""
    node = cluster.get("v1", "Node", name)
    assert node is not None
    conditions = [{**it, "lastHeartbeatTime": f"2026-01-01T00:{number:02}:00Z"} for it in node["status"]["conditions"]]
    images = [{"names": [f"example.com/image:{number}"], "sizeBytes": 1}]
    status = {"status": {"conditions": conditions, "images": images}}
    cluster.patch("v1", "Node", name, None, status, subresource="status")
    cluster.patch("v1", "Node", name, None, {"metadata": {"annotations": {"example.com/beat": str(number)}}})
