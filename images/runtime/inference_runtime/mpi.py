"""Launch mode mpi: mpirun on the leader starts, through each worker's own sshd, the commands that native mode runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from app.contracts.crash import find_cause
from inference_runtime import rank, session
from inference_runtime.address import is_ipv6
from inference_runtime.failure import EXIT_CONFIGURATION, Failure, log, write_message
from inference_runtime.group import Group
from inference_runtime.names import unresolved
from inference_runtime.ssh import FOLDER, SSHD, SshFiles, write_client, write_key, write_server
from inference_runtime.waiting import wait_until

_FATAL = ("Permission denied", "Host key verification failed")
_TICK_SECONDS = 0.5
_REST_SECONDS = 5
"""How long the other nodes may take to see that the first has ended; mpirun does not bear signals while it aborts."""
_KEPT_LINES = 2000
_MESSAGE_BYTES = 2048
_BANNER = b"-----"
"""mpirun's explanations begin with a line of these."""


def run_leader(group: Group, arguments: Sequence[str]) -> int:
    files = SshFiles()
    write_client(files, group, write_key(files))
    for left_over in (rank.pid_file(FOLDER), rank.code_file(FOLDER)):
        left_over.unlink(missing_ok=True)
    _wait_for_workers(files, group)
    hosts = FOLDER / "hosts"
    hosts.write_text("".join(f"{name} slots=1\n" for name in (group.leader, *group.workers)))
    command = mpirun_command(files, group, hosts, arguments)
    log(f"starting {' '.join(command)}")
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return _Launcher(subprocess.Popen(command, start_new_session=True, **output)).run()  # type: ignore[call-overload]


def mpirun_command(files: SshFiles, group: Group, hosts: Path, arguments: Sequence[str]) -> list[str]:
    """One process a pod. Daemons stay in their ssh sessions, so that a session's end is the daemon's; the leader alone
    opens sessions, so workers need not log in to each other."""
    settings = {
        "plm_rsh_agent": f"ssh -F {files.client}",
        "plm_rsh_no_tree_spawn": "1",
        "orte_keep_fqdn_hostnames": "1",
        "orte_startup_timeout": str(group.join_seconds),
        "hwloc_base_binding_policy": "none",
    } | ({"oob_tcp_if_include": group.interface} if group.interface else {})
    if is_ipv6(group.own_ip):
        settings |= {"oob_tcp_disable_ipv6_family": "0"}  # builds of Open MPI differ in it
    return [
        "mpirun",
        "--hostfile",
        str(hosts),
        *("-np", str(group.size), "-N", "1", "--leave-session-attached"),
        *(token for name, value in settings.items() for token in ("--mca", name, value)),
        str(_program(rank.NAME)),
        *arguments,
    ]


def _program(name: str) -> Path:
    """Another of our programs, beside the one that runs."""
    return Path(sys.argv[0]).absolute().parent / name


def _wait_for_workers(files: SshFiles, group: Group) -> None:
    """Every worker answers and takes the key, before mpirun says it less plainly."""
    deadline = time.monotonic() + group.join_seconds
    for name in group.workers:
        left = max(0.0, deadline - time.monotonic())
        if missing := wait_until(lambda name=name: _refusal(files, name), left):  # type: ignore[misc]
            raise Failure(f"join: {missing} within {group.join_seconds} s")
    log(f"all {group.size - 1} workers take the group's key")


def _refusal(files: SshFiles, name: str) -> str:
    """Why a worker cannot be reached, "" when it can. A wrong key does not get right by waiting."""
    if unknown := unresolved(name):
        return unknown
    answer = subprocess.run(
        ["ssh", "-F", files.client, name, session.CHECK], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if answer.returncode == 0:
        return ""
    said = next(iter(answer.stderr.strip().splitlines()[-1:]), f"status {answer.returncode}")
    if any(word in answer.stderr for word in _FATAL):
        message = f"ssh: {name} does not have the group's key ({said}); all pods must mount the same Secret"
        raise Failure(message, EXIT_CONFIGURATION)
    return f"{name} does not answer on its ssh port ({said})"


class _Launcher:
    """mpirun, and how it is stopped: vLLM of this pod first, so that it drains; mpirun then takes down the rest."""

    def __init__(self, mpirun: subprocess.Popen[bytes]) -> None:
        self._mpirun, self._stopping = mpirun, False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopping = True
        pid = _read_number(rank.pid_file(FOLDER))
        if pid is None:
            self._mpirun.terminate()
            return
        log("SIGTERM: vLLM may finish its requests")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def run(self) -> int:
        """The exit code of this pod's vLLM, or of mpirun where vLLM did not get as far."""
        words = Words(self._mpirun)
        ended = 0.0
        while (status := self._mpirun.poll()) is None:
            if _read_number(rank.code_file(FOLDER)) is not None:
                ended = ended or time.monotonic()
                self._hurry(time.monotonic() - ended)
            time.sleep(_TICK_SECONDS)
        code = status if status >= 0 else 128 - status
        log(f"mpirun ended with status {code}")
        own = _read_number(rank.code_file(FOLDER))
        result = own if self._stopping and own is not None else own or code
        if not self._stopping:  # else what a probe has left says why
            write_message(words.cause())
        return result

    def _hurry(self, since: float) -> None:
        """A node that hangs would keep mpirun for ever."""
        if since > 2 * _REST_SECONDS:
            self._mpirun.kill()
        elif since > _REST_SECONDS:
            self._mpirun.terminate()


class Words:
    """What the ranks print, handed on line by line; why they ended, without mpirun's own words about the end."""

    def __init__(self, mpirun: subprocess.Popen[bytes]) -> None:
        self._lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._thread = threading.Thread(target=self._copy, args=(mpirun.stdout,), daemon=True)
        self._thread.start()

    def _copy(self, source: BinaryIO) -> None:
        theirs = True
        for line in source:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            theirs = theirs and not line.startswith(_BANNER)
            if theirs:
                self._lines.append(line)

    def cause(self) -> str:
        self._thread.join(timeout=2)
        said = b"".join(self._lines).decode(errors="replace")
        return find_cause(said).text or said[-_MESSAGE_BYTES:].strip()


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def run_worker(group: Group, _: Sequence[str]) -> int:
    files = SshFiles()
    public = write_key(files)
    write_server(files, group, public, _program(session.NAME))
    for name in ("begun", "ended"):
        (FOLDER / name).unlink(missing_ok=True)
    session.save_environment(FOLDER, os.environ, os.getpid())
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    signal.signal(signal.SIGUSR1, lambda *_: None)  # the session's end; its code is in a file
    log(f"sshd on port {group.ssh_port} waits for mpirun")
    try:
        daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", files.server])
    except OSError as error:
        raise Failure(f"ssh: {SSHD} cannot be started ({error.strerror})", EXIT_CONFIGURATION) from None
    try:
        return _until_ended(group, daemon, stopped)
    finally:
        daemon.terminate()
        daemon.wait()


def _until_ended(group: Group, sshd: subprocess.Popen[bytes], stopped: list[int]) -> int:
    """The exit code of the launcher's session on this pod."""
    deadline = time.monotonic() + group.join_seconds
    while True:
        if (code := session.exit_code()) is not None:
            log(f"the launcher's session ended with status {code}")
            return code
        if sshd.poll() is not None:
            raise Failure(f"ssh: sshd ended with status {sshd.returncode}; its log is above", EXIT_CONFIGURATION)
        if stopped:
            return 128 + stopped[0]
        if not session.begun() and time.monotonic() > deadline:
            raise Failure(f"join: mpirun on {group.leader} did not start this pod within {group.join_seconds} s")
        time.sleep(_TICK_SECONDS)
