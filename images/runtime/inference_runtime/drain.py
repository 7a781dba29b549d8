"""drain-worker SECONDS: a worker's stop hook, which lasts until the leader has ended its requests.

All pods of a group are told to stop at the same time, and a leader that drains needs its workers; they do not end by
themselves when it ends. While vLLM (or Ray) runs on the leader, it holds the group's port open.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

from app.kube.runtime import LaunchMode
from inference_runtime.failure import EXIT_CONFIGURATION, Failure
from inference_runtime.group import Group, parse_group

_PAUSE_SECONDS = 0.5


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or not arguments[0].isdecimal():
        raise Failure("drain-worker takes the most seconds to wait", EXIT_CONFIGURATION)
    wait_for_leader(parse_group(os.environ), int(arguments[0]))
    return 0


def wait_for_leader(group: Group, seconds: int) -> None:
    """Return when the leader's port is closed, or the time is over. Its address is asked once: the name of a pod that
    stops may go before the pod does."""
    deadline = time.monotonic() + seconds
    port = group.ray_port if group.mode is LaunchMode.RAY else group.master_port
    try:
        address = socket.gethostbyname(group.leader)
    except OSError:
        return
    while time.monotonic() < deadline and _open(address, port):
        time.sleep(_PAUSE_SECONDS)


def _open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True
