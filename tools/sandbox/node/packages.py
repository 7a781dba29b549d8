"""Programs of the operating system that a real node needs, and the Debian packages they come in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.node.machine import NodeError, cache_folder

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
    Package("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    Package("busybox-static", "/bin/busybox"),
    Package("iptables", "iptables"),
    Package("iproute2", "ip"),
    Package("util-linux", "unshare"),
)


GIB = 2**30
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")
"""Others may be installing, and a mirror may miss an answer."""
MEMORY = 14 * GIB
"""Four vLLM processes of 3.3 GB and the control plane, at the story's fullest."""
DISK = 40 * GIB
"""vLLM's image in buildah's store, on its way, and in containerd's twice; a third of it once all is there."""
DISK_LATER = 5 * GIB


def find_obstacle() -> str | None:
    """Why no real node can run here whatever is installed; None when one can."""
    if not sys.platform.startswith("linux"):
        return "a real node needs Linux"
    if os.geteuid() != 0:
        return "a real node needs root"
    return _find_shortage() or _find_lack()


def _find_shortage() -> str | None:
    """What this machine has too little of."""
    if not _has_avx2():
        return "vLLM on processors needs AVX2"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < MEMORY:
        return f"the story needs {MEMORY // GIB} GiB of memory; this machine has {memory / GIB:.1f}"
    needed = DISK_LATER if (cache_folder() / "containerd").exists() else DISK
    free = shutil.disk_usage(cache_folder()).free
    if free < needed:
        return f"images need {needed // GIB} GiB of disk; {free / GIB:.1f} are free at {cache_folder()}"
    return None


def _find_lack() -> str | None:
    """What is missing and cannot be installed."""
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
    install = [*APT, "install", "--yes", "--quiet", "--no-install-recommends", *names]
    for command in ([*APT, "update", "--quiet"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise NodeError(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")


def _has_avx2() -> bool:
    return "avx2" in Path("/proc/cpuinfo").read_text()


def _can_make_namespaces() -> bool:
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "ip", "link", "add", "type", "veth"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return True  # unshare or ip is a package that is missing
