"""Process 1 of a pod: builds the pod's root, gives up every right, and becomes the container's command.

It runs as root in new mount, uts, ipc, pid and network namespaces. The root is this machine's /usr and a copy of /etc,
read-only as in the pod spec; what is writable, and what else there is to see, stands in the description (JSON).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def bind(source: Path, target: Path, read_only: bool) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("--rbind" if not read_only else "--bind", source, target)
    if read_only:
        mount("-o", "remount,bind,ro", target)


def build_root(root: Path, pod: dict[str, Any]) -> None:
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for name in ("usr", "bin", "sbin", "lib", "lib64"):
        path = Path("/") / name
        if path.is_symlink():
            (root / name).symlink_to(path.readlink())
        elif path.exists():
            bind(path, root / name, read_only=True)
    shutil.copytree("/etc", root / "etc", symlinks=True, ignore=shutil.ignore_patterns("shadow*", "gshadow*"))
    for path, content in pod["files"].items():
        target = root / path.lstrip("/")
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    _devices(root, pod["devices"])
    (root / "proc").mkdir()
    mount("-t", "proc", "proc", root / "proc")
    bind(Path("/sys"), root / "sys", read_only=True)
    for target, (source, read_only) in sorted(pod["mounts"].items()):
        bind(Path(source), root / target.lstrip("/"), read_only)
    mount("-o", "remount,ro", root)


def _devices(root: Path, devices: dict[str, list[int]]) -> None:
    """`devices`: path -> owner's gid and mode; each is a null device, as far as opening goes."""
    (root / "dev/shm").mkdir(parents=True)
    (root / "dev/pts").mkdir()
    for name in DEVICES:
        bind(Path("/dev") / name, root / "dev" / name, read_only=False)
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", root / "dev/pts")
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    (root / "dev/fd").symlink_to("/proc/self/fd")
    mount("-t", "tmpfs", "-o", "mode=1777,size=2g", "tmpfs", root / "dev/shm")
    for path, (gid, mode) in devices.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(target, 0o020000 | mode, os.makedev(1, 3))
        target.chmod(mode)
        os.chown(target, 0, gid)


def main() -> None:
    pod = json.loads(Path(sys.argv[1]).read_text())
    socket.sethostname(pod["hostname"])
    root = Path(pod["root"])
    build_root(root, pod)
    os.chroot(root)
    os.chdir("/")
    groups = ",".join(map(str, pod["groups"]))
    rights = [f"--groups={groups}" if groups else "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    user = ["setpriv", f"--reuid={pod['uid']}", f"--regid={pod['uid']}", *rights, "--no-new-privs"]
    os.execve("/usr/bin/setpriv", [*user, *pod["command"]], pod["env"])


main()
