"""Fake nodes: what machines with AMD GPUs look like through the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tools.sandbox.api import Object


@dataclass(frozen=True)
class Product:
    """A GPU in the words of AMD's node labeller (k8s-device-plugin, cmd/k8s-node-labeller)."""

    product_name: str
    device_id: str
    """Lower-case hexadecimal."""
    vram_gib: int
    compute_units: int
    family: str = "AI"
    """AI for all of gfx9."""
    simds_per_unit: int = 4
    dies: int = 1
    """Compute dies; as many partitions as CPX makes. 1: cannot be partitioned."""


PRODUCTS: Mapping[str, Product] = {
    "MI210": Product("AMD_Instinct_MI210", "740f", 64, 104),
    "MI250X": Product("AMD_Instinct_MI250X", "7408", 64, 104),
    "MI300X": Product("AMD_Instinct_MI300X_OAM", "74a1", 192, 304, dies=8),
    "MI325X": Product("AMD_Instinct_MI325X_OAM", "74a5", 256, 304, dies=8),
    "MI350X": Product("AMD_Instinct_MI350X", "75a0", 288, 256, dies=8),
    "MI355X": Product("AMD_Instinct_MI355X_OAM", "75a3", 288, 256, dies=8),
    "W7900": Product("AMD_Radeon_PRO_W7900", "7448", 48, 96, family="GC_11_0_0", simds_per_unit=2),
}
ZONES = ("zone-a", "zone-b")
BLOCK_LABEL = "cloud.provider.com/topology-block"
RACK_LABEL = "cloud.provider.com/topology-rack"

_PARTS = {"spx": 1, "dpx": 2, "qpx": 4}


def build_node(
    index: int,
    *,
    prefix: str = "mi300x",
    gpus: int = 8,
    labels: dict[str, str] | None = None,
    product: str | None = "MI300X",
    partition: str = "spx_nps1",
    naming: Literal["single", "mixed"] = "single",
    labelled: bool = True,
    rack: str = "",
    block: str = "",
) -> Object:
    """A node of eight whole MI300X unless told otherwise. KWOK makes it Ready because of its annotation.

    `gpus` are whole GPUs, each cut into the partitions of `partition`. `naming` is the device plugin's strategy for
    resource names. `labelled=False` is a node where AMD's node labeller does not run, product=None one without GPUs.
    """
    name = f"{prefix}-{index}"
    amounts = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "4Ti", "pods": "110"}
    identity = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": ZONES[index % len(ZONES)],
    }
    identity |= ({RACK_LABEL: rack} if rack else {}) | ({BLOCK_LABEL: block} if block else {})
    if product:
        parts = _PARTS.get(partition.partition("_")[0], PRODUCTS[product].dies)
        amounts[_resource(PRODUCTS[product], partition, naming)] = str(gpus * parts)
        identity |= {"accelerator": "amd-gpu"}
        identity |= labeller_labels(PRODUCTS[product], gpus, partition) if labelled else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": identity | (labels or {}),
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def _resource(product: Product, partition: str, naming: str) -> str:
    """GPUs that cannot be partitioned are amd.com/gpu under both strategies."""
    return f"amd.com/{partition}" if naming == "mixed" and product.dies > 1 else "amd.com/gpu"


def labeller_labels(product: Product, gpus: int, partition: str = "spx_nps1") -> dict[str, str]:
    """The labels of a node of `gpus` equal GPUs. Only whole GPUs are PCI devices; memory is that of a partition."""
    parts = _PARTS.get(partition.partition("_")[0], product.dies)
    units = product.compute_units // parts
    told = {
        "product-name": (product.product_name, gpus * parts),
        "device-id": (product.device_id, gpus),
        "family": (product.family, gpus),
        "vram": (f"{product.vram_gib // parts}G", gpus * parts),
        "cu-count": (str(units), gpus * parts),
        "simd-count": (str(units * product.simds_per_unit), gpus * parts),
    }
    can_partition = str(product.dies > 1).lower()
    values = {f"{prefix}amd.com/gpu.{kind}": value for kind, (value, _) in told.items() for prefix in ("", "beta.")}
    counters = {f"beta.amd.com/gpu.{kind}.{value}": str(count) for kind, (value, count) in told.items()}
    modes = {"amd.com/gpu.compute-memory-partition": partition} if product.dies > 1 else {}
    supported = {f"amd.com/gpu.{kind}-partitioning-supported": can_partition for kind in ("compute", "memory")}
    return values | counters | modes | supported
