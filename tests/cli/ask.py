"""Questions to the CLI: services and nodes as users write them, and the program as a process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

from app.cli.main import main
from app.topology.accelerators import find_accelerator

PROGRAM = Path(sys.executable).with_name("kubectl-inference")
Object = dict[str, Any]

_DEVICE_IDS = {
    "MI210": "740f",
    "MI250X": "7408",
    "MI300A": "74a0",
    "MI300X": "74a1",
    "MI325X": "74a5",
    "MI350X": "75a0",
    "MI355X": "75a3",
}


def service(model: str = "Qwen/Qwen3-8B", gpus: int = 1, **spec: Any) -> Object:
    base: Object = {"model": {"name": model}, "resources": {"totalGpus": gpus}}
    return {
        "apiVersion": "inference.ai/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "demo"},
        "spec": base | spec,
    }


def node(product: str = "MI300X", name: str = "n0", gpus: int = 8, labels: Object | None = None, **spec: Any) -> Object:
    """A Node with the labels that AMD's node labeller writes."""
    device = _DEVICE_IDS.get(product)
    assert device is None or (found := find_accelerator(device_id=device)) is None or found.key == product
    ours = {"amd.com/gpu.device-id": device} if device else {}
    amounts = {"cpu": "96"} | ({"amd.com/gpu": str(gpus)} if gpus else {})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": ours | (labels or {})},
        "spec": spec,
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The console script, with no cluster to find unless `env` names one."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("INFERENCE_", "KUBE"))}
    return subprocess.run(
        [PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env=surroundings | {"HOME": "/nonexistent"} | (env or {}),
    )


def call(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The same in this process, where starting one adds nothing."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
    ):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def as_lines(questions: Iterable[Object]) -> str:
    return "".join(f"{json.dumps(question)}\n" for question in questions)


def answers(questions: Iterable[Object], code: int = 0) -> list[Object]:
    """What `plan --batch -` answers."""
    done = run("plan", "--batch", "-", stdin=as_lines(questions))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
