"""How full the memories of this pod are: the container's own limit, /dev/shm, and each GPU.

vLLM fills a GPU up to its utilisation target on purpose, so only what is nearly all counts as a problem there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
SHARED = Path("/dev/shm")
DRM = Path("/sys/class/drm")
LIMIT_PERCENT = {"container": 95, "shared memory": 95, "GPU": 99}


@dataclass(frozen=True)
class Use:
    """Bytes of one memory."""

    kind: str
    name: str
    used: int
    total: int

    @property
    def percent(self) -> int:
        return 100 * self.used // self.total if self.total else 0


def find_memory_problem() -> str:
    """The memories that are nearly full, "" when none is; one without a limit cannot be."""
    full = [use for use in (*container(), *shared(), *gpus()) if use.percent >= LIMIT_PERCENT[use.kind]]
    return "; ".join(f"{use.name}: {use.percent}% of {use.total >> 20} MiB are used" for use in full)


def container() -> Iterator[Use]:
    """cgroup v2; without a limit memory.max says "max"."""
    for used, limit in (
        ("memory.current", "memory.max"),
        ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"),
    ):
        taken, total = _number(CGROUP / used), _number(CGROUP / limit)
        if taken is not None and total is not None and total < 1 << 60:
            yield Use("container", "the container's memory", taken, total)


def shared() -> Iterator[Use]:
    try:
        size = os.statvfs(SHARED)
    except OSError:
        return
    total = size.f_blocks * size.f_frsize
    yield Use("shared memory", str(SHARED), total - size.f_bavail * size.f_frsize, total)


def gpus() -> Iterator[Use]:
    """amdgpu's own counters. /sys shows all GPUs of the node, so only those whose device file the pod has."""
    for folder in sorted(DRM.glob("renderD*")):
        if not (Path("/dev/dri") / folder.name).exists():
            continue
        used, total = (_number(folder / "device" / f"mem_info_vram_{name}") for name in ("used", "total"))
        if used is not None and total:
            yield Use("GPU", f"GPU {folder.name}", used, total)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
