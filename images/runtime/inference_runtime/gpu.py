"""Whether this pod can open its GPUs: the device files that AMD's device plugin gave the container.

/dev/kfd is one for all GPUs of a node; each GPU or partition has its own /dev/dri/renderD<n>. The files belong to root
and a group of the node, 0660 as a rule, so a pod without that group sees no GPU although it was given one.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

KFD = Path("/dev/kfd")
RENDER = Path("/dev/dri")


def find_gpu_problem(wanted: int) -> str:
    """Why the pod cannot use its GPUs, "" when it can, or when its vLLM is the CPU build and needs none."""
    if runs_on_cpu():
        return ""
    if not KFD.exists():
        return f"no device {KFD}: the container got no GPU from the device plugin"
    nodes = render_nodes()
    if len(nodes) < wanted:
        return f"{len(nodes)} of {wanted} GPUs: so many device files {RENDER}/renderD* are in the container"
    return next((problem for device in (KFD, *nodes) if (problem := _closed(device))), "")


def render_nodes() -> list[Path]:
    return sorted(RENDER.glob("renderD*"))


def _closed(device: Path) -> str:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        gid = device.stat().st_gid
        return f"permission denied on {device}, gid {gid}: add {gid} to INFERENCE_SUPPLEMENTAL_GROUPS of the operator"
    except OSError as error:
        return f"{device} cannot be opened ({error.strerror})"
    return ""


def runs_on_cpu() -> bool:
    """As vLLM itself tells it: "cpu" in the version of its distribution."""
    try:
        return "cpu" in metadata.version("vllm")
    except metadata.PackageNotFoundError:
        return False
