"""Programs of the operating system that a real node needs, and the Debian packages they come in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.node.machine import NodeError

Report = Callable[[str], None]


@dataclass(frozen=True)
class Package:
    """A Debian package and a file of it: a path, or the name of a program."""

    name: str
    file: str

    @property
    def missing(self) -> bool:
        return not (Path(self.file).exists() if self.file.startswith("/") else shutil.which(self.file, path=PATH))


PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PACKAGES = (
    Package("containerd", "containerd"),
    Package("runc", "runc"),
    Package("containernetworking-plugins", "/usr/lib/cni/bridge"),
    Package("buildah", "buildah"),
    Package("debootstrap", "debootstrap"),
    Package("busybox-static", "/bin/busybox"),
    Package("iptables", "iptables"),
    Package("iproute2", "ip"),
    Package("util-linux", "unshare"),
)


def find_obstacle() -> str | None:
    """Why no real node can run here whatever is installed; None when one can."""
    if not sys.platform.startswith("linux"):
        return "a real node needs Linux"
    if os.geteuid() != 0:
        return "a real node needs root"
    if not _can_make_namespaces():
        return "this machine lets nobody make namespaces or links between them (a container without privileges?)"
    if any(package.missing for package in PACKAGES) and not shutil.which("apt-get"):
        return f"a real node needs {', '.join(missing())}, and there is no apt-get to install them with"
    return None


def missing() -> list[str]:
    """Names of the packages that are not there."""
    return [package.name for package in PACKAGES if package.missing]


def ensure_packages(report: Report = print) -> None:
    """Install what is missing, on Debian and its kin."""
    names = missing()
    if not names:
        return
    report(f"installing {' '.join(names)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *names]
    for command in (["apt-get", "update", "--quiet"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise NodeError(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")


def _can_make_namespaces() -> bool:
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "ip", "link", "add", "type", "veth"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return True  # unshare or ip is a package that is missing
