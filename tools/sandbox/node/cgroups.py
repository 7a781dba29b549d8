"""The cgroup below which the kubelet makes all of its own, in every hierarchy of the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
NAME = "inference-sandbox"
SECONDS = 60.0
"""How long killed processes may take to leave their cgroups."""


def create() -> None:
    """One folder a hierarchy. cgroup v1 wants processors and memory nodes before a process may enter."""
    for root in _hierarchies():
        folder = root / NAME
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if _is_v1() and (root / name).exists():
                (folder / name).write_text((root / name).read_text())


def remove() -> None:
    """Kill what still runs below our cgroups and remove them, the innermost first."""
    deadline = time.monotonic() + SECONDS
    while left := [folder for root in _hierarchies() if (folder := root / NAME).exists()]:
        for folder in left:
            _remove_tree(folder)
        if time.monotonic() > deadline:
            raise TimeoutError(f"cgroups could not be removed: {', '.join(map(str, left))}")
        time.sleep(0.1)


def _remove_tree(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            for pid in (Path(path) / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(path).rmdir()


def _is_v1() -> bool:
    return not (MOUNT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    """One with cgroup v2; with v1 one a controller. Links such as `cpu,cpuacct` lead to the same folders."""
    return sorted({path.resolve() for path in MOUNT.iterdir() if path.is_dir()}) if _is_v1() else [MOUNT]
