"""GPUNode: what AMD's labels and device plugin say of a node, and where they do not agree."""

from __future__ import annotations

from typing import Any

from tests.golden.scene import Scene, lacks, says, scenario
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node

no_nodes = scenario(nodes=())


def node(name: str, *, capacity: dict[str, str] | None = None, drop: tuple[str, ...] = (), **more: Any) -> Object:
    """A node as build_node makes it, with other amounts, and without labels that begin so."""
    own = more.pop("labels", {})
    made = build_node(0, **more)
    made["metadata"]["name"] = made["metadata"]["labels"]["kubernetes.io/hostname"] = name
    labels = made["metadata"]["labels"]
    made["metadata"]["labels"] = {key: it for key, it in labels.items() if not (drop and key.startswith(drop))} | own
    for amounts in (made["status"]["capacity"], made["status"]["allocatable"]) if capacity is not None else ():
        for key in [key for key in amounts if key.startswith("amd.com/")]:
            del amounts[key]
        amounts.update(capacity or {})
    return made


def keep_each(scene: Scene, **nodes: Object) -> None:
    """Each node once it is Ready."""
    for name, it in nodes.items():
        case = name.replace("_", "-")
        it["metadata"]["name"] = it["metadata"]["labels"]["kubernetes.io/hostname"] = case
        scene.world.cluster.create_nodes([it])
        scene.keep(f"gpunode/{case}", case, lacks("notReadySince"))
        scene.world.cluster.delete("v1", "Node", case)


@no_nodes
def node_products(scene: Scene) -> None:
    """One node of each product that the sandbox knows, and one of an unknown product."""
    keep_each(
        scene,
        mi210=node("mi210", product="MI210"),
        mi250x=node("mi250x", product="MI250X"),
        mi325x=node("mi325x", product="MI325X"),
        mi350x=node("mi350x", product="MI350X"),
        mi355x=node("mi355x", product="MI355X"),
        w7900=node("w7900", product="W7900", gpus=2),
        unheard_of=node("x", drop=("amd.com/gpu.", "beta.amd.com/"), labels={"amd.com/gpu.device-id": "ffff"}),
        discovered=node("x", product=None, labels={"feature.node.kubernetes.io/amd-gpu": "true"}),
        declared=node("x", labelled=False, labels={"inference.ai/gpu-declared-product": "MI300X"}),
        declared_by_an_unknown_word=node("x", labelled=False, labels={"inference.ai/gpu-declared-product": "MI9"}),
    )


@no_nodes
def node_partitions(scene: Scene) -> None:
    """Modes under both ways of naming resources."""
    keep_each(
        scene,
        cpx_single=node("x", gpus=2, partition="cpx_nps4"),
        cpx_mixed=node("x", gpus=2, partition="cpx_nps4", naming="mixed"),
        dpx_single=node("x", gpus=8, partition="dpx_nps2"),
        qpx_mixed=node("x", gpus=1, partition="qpx_nps1", naming="mixed"),
        mode_untold=node("x", gpus=8, partition="cpx_nps1", drop=("amd.com/gpu.compute-memory-partition",)),
    )


@no_nodes
def node_contradictions(scene: Scene) -> None:
    """Each of the checks, most of them after a repartition."""
    ours = {"inference.ai/gpu-declared-product": "MI210"}
    keep_each(
        scene,
        two_products=node(
            "x", drop=("amd.com/gpu.", "beta.amd.com/"),
            labels={"beta.amd.com/gpu.device-id.74a1": "4", "beta.amd.com/gpu.device-id.740f": "4"},
        ),
        other_name=node("x", labels={"amd.com/gpu.product-name": "AMD_Instinct_MI210"}),
        other_declaration=node("x", labels=ours),
        nothing_offered=node("x", capacity={}),
        other_count=node("x", capacity={"amd.com/gpu": "6"}),
        other_mode=node("x", gpus=2, partition="cpx_nps4", naming="mixed", labels={
            "amd.com/gpu.compute-memory-partition": "spx_nps1",
        }),
        impossible_count=node("x", capacity={"amd.com/gpu": "12"}),
        other_memory=node("x", labels={"amd.com/gpu.vram": "24G"}),
        other_health=node("x", labels={"metricsexporter.amd.com.gpu.3.state": "unhealthy"}),
    )  # fmt: skip


@no_nodes
def node_life(scene: Scene) -> None:
    """A node with a rack is tainted, cordoned, loses a GPU and its kubelet, and comes back."""
    name = "gpunode/life"
    made = node("life", rack="r1", block="b1")
    scene.world.cluster.create_nodes([made])
    scene.keep(name, "in-a-rack", says('"rack"'), lacks("notReadySince"))
    scene.node("life", {"spec": {"taints": [{"key": "maintenance", "value": "today", "effect": "NoSchedule"}]}})
    scene.keep(name, "tainted", says("maintenance"))
    scene.node("life", {"spec": {"unschedulable": True}})
    scene.keep(name, "cordoned", says("node.kubernetes.io/unschedulable"))
    scene.node("life", {"status": {"allocatable": {"amd.com/gpu": "7"}}}, status=True)
    scene.keep(name, "a-gpu-is-unhealthy", lambda it, _: it["object"]["status"]["allocatable"]["amd.com/gpu"] == "7")
    scene.fail_node("life")
    scene.keep(name, "not-ready", says("notReadySince"))
    scene.node("life", {"metadata": {"labels": {"amd.com/gpu.compute-memory-partition": "cpx_nps4"}}})
    scene.keep(name, "another-mode-is-labelled", says("cpx_nps4"))
