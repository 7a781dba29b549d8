"""The node's machine leaves nothing behind, however its process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.sandbox.node import addresses, cgroups
from tools.sandbox.node.machine import LINK, Machine, NodeError, clean_up, only_one
from tools.sandbox.node.packages import ensure_packages, find_obstacle
from tools.sandbox.process import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e
PROGRAM = """
import signal, sys, time
from pathlib import Path
from tools.sandbox.node.machine import Machine
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born to ignore it
with Machine.boot(Path(sys.argv[1])) as machine:
    machine.start("sleeper", ["sleep", "86399"])
    machine.run("mount", "-t", "tmpfs", "inference-test", "/mnt")
    machine.run("iptables", "-N", "INFERENCE-TEST")
    Path(sys.argv[1], "pid").write_text(str(machine.pid))
    print("up", flush=True)
    time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def possible() -> None:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    ensure_packages()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a machine in which something runs, is mounted and is filtered."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "machine")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def traces() -> dict[str, bool]:
    """What of a machine can be seen on the host."""
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    commands = [command(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    chains = subprocess.run(["iptables", "-S"], capture_output=True, text=True, check=False).stdout
    return {
        "interface": Path(f"/sys/class/net/{LINK}").exists(),
        "routes": addresses.PODS in routes or addresses.SERVICES in routes,
        "processes": any(b"86399" in it for it in commands),
        "mounts": "inference-test" in Path("/proc/mounts").read_text(),
        "chains": "INFERENCE-TEST" in chains,
    }


def command(path: Path) -> bytes:
    """Empty when the process has ended meanwhile."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def wait_until_nothing_is_left() -> None:
    """The kernel takes namespaces apart a moment after their last process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(traces().values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert traces() == dict.fromkeys(traces(), False)


def test_while_it_runs_its_mounts_and_chains_are_not_the_hosts(running: subprocess.Popen[str]) -> None:
    assert running.poll() is None
    assert traces() == {"interface": True, "routes": True, "processes": True, "mounts": False, "chains": False}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_its_process_ends(running: subprocess.Popen[str], number: signal.Signals) -> None:
    running.send_signal(number)
    running.wait(PATIENCE_SECONDS)
    wait_until_nothing_is_left()
    with only_one():
        clean_up()
    assert not [path for path, _, _ in os.walk("/sys/fs/cgroup") if Path(path).name == cgroups.NAME]


def test_the_folder_of_a_killed_one_goes_with_the_next(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.kill()
    running.wait()
    assert (tmp_path / "machine").exists()
    with Machine.boot(tmp_path / "next") as machine:
        assert not (tmp_path / "machine").exists()
        assert machine.run("hostname")
    assert not (tmp_path / "next").exists()
    wait_until_nothing_is_left()


def test_a_link_that_outlives_its_node_is_in_nobodys_way(running: subprocess.Popen[str], tmp_path: Path) -> None:
    """The kernel takes namespaces apart in its own time; this one is kept from it."""
    pid = (tmp_path / "machine" / "pid").read_text()
    with Path(f"/proc/{pid}/ns/net").open():
        running.kill()
        running.wait()
        assert traces()["routes"]
        with Machine.boot(tmp_path / "next") as machine:
            assert machine.run("hostname")
    wait_until_nothing_is_left()


def test_a_second_one_is_refused(running: subprocess.Popen[str], tmp_path: Path) -> None:
    assert running.poll() is None
    with pytest.raises(NodeError, match="one at a time"), Machine.boot(tmp_path / "second"):
        pass
