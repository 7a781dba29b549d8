"""A pod's place in its group + vLLM's arguments -> the command that this pod runs: pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.contracts.runtime import LaunchMode
from inference_runtime.group import Group

VLLM = ("vllm", "serve")
_OF_THE_API = "--api-server-count="
"""Workers serve no API, and vLLM does not start where it is told to serve it and not to."""


def build_command(group: Group, arguments: Sequence[str], host: str = "") -> list[str]:
    """`vllm serve` as this pod must run it; `host` is what the API listens on, "" = as vLLM does by itself. Ray's own
    processes span the pods, so there vLLM hears nothing of nodes."""
    served = [*VLLM, *arguments, *([f"--host={host}"] if host else [])]
    if group.mode in (LaunchMode.SINGLE, LaunchMode.RAY) or group.size == 1:
        return served
    place = [
        f"--nnodes={group.size}",
        f"--node-rank={group.index}",
        f"--master-addr={group.leader}",
        f"--master-port={group.master_port}",
    ]
    if group.index == 0:
        return [*served, *place]
    return [*VLLM, *(it for it in arguments if not it.startswith(_OF_THE_API)), *place, "--headless"]
