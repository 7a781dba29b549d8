"""Fake AMD nodes: what a machine with eight MI300X looks like through the API."""

from __future__ import annotations

from sandbox.api import Object

# As AMD's node labeller writes them (k8s-device-plugin, cmd/k8s-node-labeller): vram in GiB, device-id in lower-case
# hex, family AI for all gfx9 parts.
MI300X_LABELS = {
    "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM",
    "amd.com/gpu.device-id": "74a1",
    "amd.com/gpu.family": "AI",
    "amd.com/gpu.vram": "192G",
    "amd.com/gpu.cu-count": "304",
    "amd.com/gpu.simd-count": "1216",
    "amd.com/gpu.compute-memory-partition": "spx_nps1",
    "amd.com/gpu.compute-partitioning-supported": "true",
    "amd.com/gpu.memory-partitioning-supported": "true",
}
ZONES = ("zone-a", "zone-b")


def build_node(index: int, *, prefix: str = "mi300x", gpus: int = 8, labels: dict[str, str] | None = None) -> Object:
    """A node of eight GPUs unless told otherwise. KWOK makes it Ready because of its annotation."""
    name = f"{prefix}-{index}"
    amounts = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "4Ti", "pods": "110", "amd.com/gpu": str(gpus)}
    identity = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": ZONES[index % len(ZONES)],
        "accelerator": "amd-gpu",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": identity | MI300X_LABELS | (labels or {}),
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "status": {"capacity": amounts, "allocatable": amounts},
    }
