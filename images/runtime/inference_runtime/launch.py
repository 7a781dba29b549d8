"""start-leader and start-worker: what must be there first, then the launch mode's own way to start vLLM.

vLLM is a child of this process, which hands on its signals, its output and its exit code, and tells why it ended.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

from app.contracts.runtime import LaunchMode
from inference_runtime import mpi, ray
from inference_runtime.address import served_host
from inference_runtime.command import build_command
from inference_runtime.failure import EXIT_CONFIGURATION, EXIT_UNAVAILABLE, Failure, log
from inference_runtime.gpu import find_gpu_problem
from inference_runtime.group import Group, parse_group
from inference_runtime.health import forget_failures
from inference_runtime.model import wait_for_model
from inference_runtime.rendezvous import meet
from inference_runtime.supervise import run

Arguments = Sequence[str]
Start = Callable[[Group, Arguments], int]


def start_leader(arguments: Arguments) -> int:
    group = parse_group(os.environ)
    if group.index:
        raise Failure(f"start-leader is for pod 0 of a group, and this is pod {group.index}", EXIT_CONFIGURATION)
    return _start(group, arguments, _LEADERS)


def start_worker(arguments: Arguments) -> int:
    group = parse_group(os.environ)
    if group.mode is LaunchMode.SINGLE or not group.index:
        raise Failure("start-worker is for pods 1 to N-1 of a group", EXIT_CONFIGURATION)
    return _start(group, arguments, _WORKERS)


def _start(group: Group, arguments: Arguments, modes: dict[LaunchMode, Start]) -> int:
    log(f"pod {group.index} of {group.size}, mode {group.mode}, {group.gpus} GPUs")
    # process 1 of a container ignores what it has no handler for
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    forget_failures()
    if problem := find_gpu_problem(group.gpus):
        raise Failure(f"gpu_available: {problem}", EXIT_UNAVAILABLE)
    wait_for_model(group.model_path, group.model_seconds)
    return modes[group.mode](group, arguments)


def _native(group: Group, arguments: Arguments) -> int:
    meet(group)
    return start(build_command(group, arguments, served_host(group.own_ip)))


def start(command: Sequence[str]) -> int:
    """The command's exit code."""
    log(f"starting {' '.join(command)}")
    return run(command)


def _ray_leader(group: Group, arguments: Arguments) -> int:
    ray.start_head(group)
    return start(build_command(group, arguments, served_host(group.own_ip)))


def _ray_worker(group: Group, _: Arguments) -> int:
    return start(ray.worker_command(group))


_LEADERS: dict[LaunchMode, Start] = {
    LaunchMode.SINGLE: _native,
    LaunchMode.NATIVE: _native,
    LaunchMode.RAY: _ray_leader,
    LaunchMode.MPI: mpi.run_leader,
}
_WORKERS: dict[LaunchMode, Start] = {
    LaunchMode.NATIVE: _native,
    LaunchMode.RAY: _ray_worker,
    LaunchMode.MPI: mpi.run_worker,
}
