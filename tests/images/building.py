"""Real builds of our Dockerfiles with buildah, on a small local base instead of ROCm's vLLM image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.images.layout import ROOT

BASE = "localhost/inference-test-base:bookworm-2"
OF_THIS_MACHINE = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/apt.conf.d",
    "/etc/pip.conf",
    "/etc/ssl/certs",
)
BUILDAH = ("buildah", "--storage-driver", "overlay")


def missing_tools() -> str:
    """Why images cannot be built here, "" when they can."""
    absent = [tool for tool in ("buildah", "debootstrap") if shutil.which(tool) is None]
    if os.geteuid() != 0:
        return "needs root, to unpack a base image"
    return f"needs {', '.join(absent)}" if absent else ""


def buildah(*arguments: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [*BUILDAH, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"buildah {arguments[0]}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def ensure_base(scratch: Path) -> str:
    """Debian with python3, made once per machine; it has this machine's package sources and trust."""
    if BASE not in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        root = scratch / "base"
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm", root],
            check=True,
            capture_output=True,
        )
        for path in OF_THIS_MACHINE:
            if Path(path).exists():
                subprocess.run(["cp", "-a", path, f"{root}{Path(path).parent}/"], check=True)
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, root, "/")
        buildah("commit", "--quiet", container, BASE)
        buildah("rm", container)
    return BASE


def build(name: str, base: str, image: str = "runtime", context: Path = ROOT) -> str:
    """Build the Dockerfile of one image (the target of that name, if it has several) and return the image's name."""
    tag = f"localhost/inference-test-{name}:1"
    target = ("--target", name) if image == "runtime" else ()
    arguments = ("--isolation", "chroot", "--layers", "--build-arg", f"BASE={base}", *target)
    buildah("build", *arguments, "--file", context / f"images/{image}/Dockerfile", "--tag", tag, context)
    return tag


def inspect(name: str) -> dict[str, Any]:
    """The image's configuration and layers, as OCI has them."""
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", name))["OCIv1"]
    return found


def run_in(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    """One command in a container of the image, as the image's user."""
    container = buildah("from", "--pull-never", name)
    try:
        return subprocess.run(
            [*BUILDAH, "run", "--isolation", "chroot", container, "--", *command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    finally:
        buildah("rm", container)
