"""Child processes of the sandbox: one log each, ended by pid, never outliving us.

Every process gets its own session: Ctrl-C in the terminal reaches only us, and we stop them in the right order.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOG_TAIL_LINES = 25
CONNECT_SECONDS = 2.0
PATIENCE_SECONDS = 240.0
"""How long what must come may take, however busy the machine is: it only ends a hang."""
PORTS = range(10_240, 30_000)
"""Above the well-known ones, below Kubernetes' NodePorts."""
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")

_given: set[int] = set()
"""Ports that this process has given away; what is to listen there may not have begun."""


class ProcessFailedError(RuntimeError):
    """A process died, or did not become ready in time; the message carries the end of its log."""


def free_port() -> int:
    """A loopback TCP port nobody listens on at this moment, and none that the kernel gives to outgoing connections:
    such a one may be taken before the process that is to listen there has started.
    """
    outgoing = _outgoing_ports()
    ports = [port for port in PORTS if port not in outgoing] or PORTS
    while True:
        port = secrets.choice(ports)  # not by `random`, which tests may seed
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def _outgoing_ports() -> range:
    """Those that the kernel chooses from; Linux tells them, elsewhere they are IANA's dynamic ports."""
    try:
        first, last = (int(port) for port in OUTGOING.read_text().split())
    except (OSError, ValueError):
        first, last = 49152, 65535
    return range(first, last + 1)


def accepts(host: str, port: int) -> tuple[bool, str]:
    """Whether a connection is accepted.

    kube-proxy has its rules for an address a moment after the endpoints are known. A SYN that comes before them is lost
    with all its repetitions, for the kernel takes them for the same connection; only a new one gets through.
    """
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True, ""
    except OSError as error:
        return False, f"{host}:{port}: {error}"


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The end of a log file, for error messages."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(empty log)"


def _die_with_parent() -> Callable[[], None] | None:
    """A hook for the child that ties its life to ours, where the kernel can do that.

    Linux sends the signal when the *thread* that forked ends, so it is only used from the main thread.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class Process:
    """A running child process."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]

    @classmethod
    def start(cls, name: str, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> Process:
        """Start `argv` with both outputs appended to `log`; `env` is added to our own environment."""
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [str(arg) for arg in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                preexec_fn=_die_with_parent(),
            )
        return cls(name, log, popen)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def check(self) -> None:
        """Raise when the process has ended."""
        code = self.popen.poll()
        if code is not None:
            raise ProcessFailedError(f"{self.name} ended with status {code}. End of {self.log}:\n{tail(self.log)}")

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Poll `ready` until it is true; raise when the process dies first or the time is over."""
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessFailedError(
                    f"{self.name} was not ready after {timeout:.0f} s. End of {self.log}:\n{tail(self.log)}"
                )
            time.sleep(0.1)

    def stop(self, grace: float = 5.0) -> None:
        """Ask the process to end, and kill its session when it has not after `grace` seconds (0: at once)."""
        if self.popen.poll() is None and grace > 0:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(grace)
        if self.popen.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait()
