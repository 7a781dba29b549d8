"""Workloads of the operator for groups of any size and launch mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kube.manifest import Manifest
from tests.inferenceservice.service import cache, call, spec, workload

MPI: dict[str, Any] = {"mpi": {"enabled": True, "timeout": 10, "sshKeySecret": "keys"}}
RAY: dict[str, Any] = {"engineArgs": {"distributed_executor_backend": "ray"}}


def built(
    nodes: int = 1,
    mode: str = "native",
    gpus_per_node: int = 1,
    env: Mapping[str, str] | None = None,
    facts: Mapping[str, object] | None = None,
    **engine_args: Any,
) -> Manifest:
    """What the operator answers for a service of so many nodes; nodes 1 is not distributed. `facts` are what its
    ModelCache has read from the weights."""
    parts: dict[str, Any] = {
        "resources": {"totalGpus": nodes * gpus_per_node},
        "storage": {"modelCache": "weights"},
        "vllm": {
            "engineArgs": {**(RAY["engineArgs"] if mode == "ray" else {}), **engine_args},
            "envVars": dict(env or {}),
        },
    }
    if nodes > 1:
        parts["distributed"] = {"enabled": True, "size": nodes} | (MPI if mode == "mpi" else {})
    status: dict[str, Any] = {"model": facts} if facts else {}
    return workload(call(spec(**parts), related=[cache(**status)]))
