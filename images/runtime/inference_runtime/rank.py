"""start-rank: what mpirun runs once on every pod; it runs the same vLLM command that native mode runs.

MPI carries nothing of vLLM's traffic, so its variables end here: libraries that find them would believe otherwise. vLLM
is a child here because mpirun does not tell one rank's exit code from another's and start-leader needs that of its
own.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference_runtime.address import served_host
from inference_runtime.command import build_command
from inference_runtime.failure import EXIT_CONFIGURATION, Failure, log
from inference_runtime.group import parse_group
from inference_runtime.ssh import FOLDER

NAME = "start-rank"
_LAUNCHER = ("OMPI_", "PMIX_", "ORTE_")


def start_rank(arguments: Sequence[str]) -> int:
    group = parse_group(os.environ)
    rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
    if (rank, size) != (group.index, group.size):
        message = f"mpi: mpirun started rank {rank} of {size} on pod {group.index} of {group.size}"
        raise Failure(message, EXIT_CONFIGURATION)
    command = build_command(group, arguments, served_host(group.own_ip))
    log(f"rank {rank}: starting {' '.join(command)}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER)}
    return _run(command, environment)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Signals go on to vLLM; its exit code stays in a file."""
    try:
        vllm = subprocess.Popen(command, env=environment)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not in this image's PATH", EXIT_CONFIGURATION) from None
    signal.signal(signal.SIGTERM, lambda number, _: vllm.send_signal(number))
    pid_file(FOLDER).write_text(str(vllm.pid))
    status = vllm.wait()
    code = status if status >= 0 else 128 - status
    code_file(FOLDER).write_text(str(code))
    return code


def pid_file(folder: Path) -> Path:
    """Holds the process id of this pod's vLLM."""
    return folder / "rank.pid"


def code_file(folder: Path) -> Path:
    """Holds the exit code of this pod's vLLM, once it has ended."""
    return folder / "rank.code"
