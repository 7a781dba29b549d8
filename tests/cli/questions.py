"""The console script as a process, and questions to ask it."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from app.cli.batch import answer_lines
from app.settings import Settings
from tools.sandbox.nodes import build_node

SCRIPT = Path(sysconfig.get_path("scripts")) / "kubectl-inference"
Json = dict[str, Any]


def run(
    *arguments: str | Path, stdin: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Nothing of this machine's environment but PATH; no kubeconfig."""
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(env or {})}
    return subprocess.run(
        [SCRIPT, *arguments], input=stdin, env=clean, capture_output=True, text=True, timeout=120, check=False
    )


def batch(questions: Iterable[Json]) -> list[Json]:
    """The answers, when every line was of use."""
    done = run("plan", "--batch", "-", stdin="".join(f"{json.dumps(it)}\n" for it in questions))
    assert (done.returncode, done.stderr) == (0, ""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


def service(model: str | Json = "Qwen/Qwen3-8B", gpus: int = 1, **spec: Any) -> Json:
    named = model if isinstance(model, dict) else {"name": model}
    resources = {"totalGpus": gpus} | spec.pop("resources", {})
    return {
        "apiVersion": "inference.ai/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "demo"},
        "spec": {"model": named, "resources": resources, **spec},
    }


def nodes(count: int = 1, product: str = "MI300X", gpus: int = 8) -> list[Json]:
    return [build_node(index, prefix=product.lower(), product=product, gpus=gpus) for index in range(count)]


def question(asked: Json, on: list[Json] | None = None, **more: Any) -> Json:
    return {"service": asked, "nodes": nodes() if on is None else on, "modelConfig": None, "weightsBytes": None} | more


def one(asked: Json, on: list[Json] | None = None, **more: Any) -> Json:
    """The answer to one question, without a process of its own."""
    [answer] = answer_lines([json.dumps(question(asked, on, **more)).encode()], Settings(), datetime.now(UTC))
    assert "error" not in answer, answer
    found: Json = json.loads(json.dumps(answer))
    return found


def written(folder: Path, name: str, *documents: Json) -> Path:
    """A YAML file of these objects."""
    file = folder / name
    file.write_text(yaml.safe_dump_all(documents))
    return file
