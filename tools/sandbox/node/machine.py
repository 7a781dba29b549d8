"""The node as a machine: namespaces that one process holds, a link to the host, a record of what to clean up."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.binaries import cache_root
from tools.sandbox.node import addresses, cgroups
from tools.sandbox.process import PATIENCE_SECONDS, Process

LINK = "inference0"
"""The host's end of the link. It goes when the node's network namespace does."""
INIT = Path(__file__).parent / "init.py"


class NodeError(RuntimeError):
    """The node cannot be started here; the message says why."""


@dataclass(frozen=True)
class Machine:
    """Running namespaces; `enter` is a command prefix that runs a program in them."""

    directory: Path
    cache: Path
    pid: int

    @property
    def enter(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--"]

    def run(self, *argv: str | Path, check: bool = True) -> str:
        """Run a command in the node to its end; its output."""
        command = [*self.enter, *map(str, argv)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise NodeError(f"{' '.join(map(str, argv))} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self, name: str, argv: Sequence[str | Path]) -> Process:
        """Start a program in the node. It ends with the machine, or by `stop(grace=0)`."""
        return Process.start(name, [*self.enter, *argv], self.directory / f"{name}.log")

    @classmethod
    @contextmanager
    def boot(cls, directory: Path) -> Iterator[Machine]:
        """Hold the namespaces until the block is left; then nothing of the node is left but `cache_folder()`."""
        with only_one(), ExitStack() as stack:
            clean_up()
            _refuse_overlap()
            directory.mkdir(parents=True, exist_ok=True)
            _record(directory)
            stack.callback(clean_up)
            cgroups.create()
            holder = _hold(directory)
            stack.callback(holder.stop, 0)
            machine = cls(directory, cache_folder(), _only_child(holder.pid))
            _link(machine)
            yield machine


def cache_folder() -> Path:
    """What is kept from run to run: images, and what they are built from."""
    folder = cache_root() / "node"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clean_up() -> None:
    """Remove what a node that runs no more has left: its cgroups, its folder, and its link with the routes that lead
    over it, which the kernel takes away a moment after the last process. Needs no node to have run."""
    record = _record_file()
    cgroups.remove()
    if Path(f"/sys/class/net/{LINK}").exists():
        with contextlib.suppress(NodeError):  # the kernel was faster
            _host("ip", "link", "del", LINK)
    if record.exists():
        shutil.rmtree(json.loads(record.read_text())["directory"], ignore_errors=True)
        record.unlink()


def remove_cache() -> None:
    """Images and what they are built from; the next run makes them again."""
    shutil.rmtree(cache_folder())


@contextmanager
def only_one() -> Iterator[None]:
    """Addresses, cgroup and image store are the machine's only ones."""
    with (cache_folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError("another real node runs on this machine; one at a time") from None
        yield


def _record_file() -> Path:
    return cache_folder() / "running.json"


def _record(directory: Path) -> None:
    _record_file().write_text(json.dumps({"directory": str(directory)}))


def _refuse_overlap() -> None:
    routes = [line.split()[0] for line in _host("ip", "-4", "route").splitlines()]
    if taken := addresses.overlapping([route for route in routes if route[0].isdigit()]):
        raise NodeError(f"the node needs the networks {', '.join(addresses.ALL)}; this machine routes {taken}")


def _hold(directory: Path) -> Process:
    """The namespaces end when unshare does, because it kills their first process; and it ends with us."""
    ready = directory / "ready"
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, INIT]
    holder = Process.start("machine", [*map(str, argv), str(ready)], directory / "machine.log")
    try:
        holder.wait_until(ready.exists, PATIENCE_SECONDS)
    except BaseException:
        holder.stop(0)
        raise
    return holder


def _only_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _link(machine: Machine) -> None:
    """A pair of interfaces, and the way to pods and Services through the node."""
    _host("ip", "link", "add", LINK, "type", "veth", "peer", "name", "host0", "netns", str(machine.pid))
    _host("ip", "address", "add", f"{addresses.HOST}/30", "dev", LINK)
    _host("ip", "link", "set", LINK, "up")
    machine.run("ip", "address", "add", f"{addresses.NODE}/30", "dev", "host0")
    machine.run("ip", "link", "set", "host0", "up")
    machine.run("ip", "route", "add", "default", "via", addresses.HOST)
    for network in (addresses.PODS, addresses.SERVICES):
        _host("ip", "route", "add", network, "via", addresses.NODE)


def _host(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
