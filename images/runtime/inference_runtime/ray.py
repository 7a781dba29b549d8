"""Launch mode ray: a head on the leader, a node of Ray on every worker; vLLM on the leader finds them through it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

from inference_runtime.address import find_address, with_port
from inference_runtime.failure import EXIT_CONFIGURATION, Failure, log
from inference_runtime.group import Group
from inference_runtime.names import unresolved
from inference_runtime.waiting import wait_until

_COUNT = "import ray,sys;ray.init(address=sys.argv[1],logging_level=50);print(sum(n['Alive'] for n in ray.nodes()))"
_ALWAYS = ("--disable-usage-stats",)


def start_head(group: Group) -> None:
    """Return when all pods of the group are nodes of one Ray."""
    address = with_port(group.own_ip, group.ray_port)
    # Ray would renumber the GPUs of its workers, and vLLM then asks for one that is not there.
    os.environ["RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES"] = "1"
    os.environ["RAY_ADDRESS"] = address
    head = ["--head", f"--port={group.ray_port}", "--include-dashboard=false"]
    command = ["ray", "start", *head, *_node(group)]
    log(f"starting {' '.join(command)}")
    try:
        code = subprocess.run(command).returncode
    except FileNotFoundError:
        raise Failure("ray: this image has no Ray: build it with WITH_RAY=true", EXIT_CONFIGURATION) from None
    if code:
        raise Failure(f"ray: ray start ended with status {code}; its log is above")
    if missing := wait_until(_nodes_missing(address, group.size), group.join_seconds):
        raise Failure(f"join: {missing} within {group.join_seconds} s")


def _nodes_missing(address: str, size: int) -> Callable[[], str]:
    def state() -> str:
        counted = subprocess.run([sys.executable, "-c", _COUNT, address], capture_output=True, text=True)
        words = counted.stdout.split()
        nodes = int(words[-1]) if words and words[-1].isdecimal() else 0
        return "" if nodes >= size else f"{nodes} of {size} pods are nodes of Ray"

    return state


def worker_command(group: Group) -> list[str]:
    """Wait for the head, then the command that stays until the head ends."""
    if missing := wait_until(lambda: _head_missing(group), group.join_seconds):
        raise Failure(f"join: {missing} within {group.join_seconds} s")
    os.environ["RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES"] = "1"
    head = with_port(find_address(group.leader, group.own_ip), group.ray_port)
    return ["ray", "start", f"--address={head}", "--block", *_node(group)]


def _head_missing(group: Group) -> str:
    if unknown := unresolved(group.leader):
        return unknown
    try:
        socket.create_connection((group.leader, group.ray_port), timeout=5).close()
    except OSError as error:
        return f"Ray's head on {group.leader} does not answer on port {group.ray_port} ({error.args[-1]})"
    return ""


def _node(group: Group) -> tuple[str, ...]:
    return (f"--node-ip-address={group.own_ip}", f"--num-gpus={group.gpus}", *_ALWAYS)
