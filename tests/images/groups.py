"""Groups of pods as LeaderWorkerSet makes them of the operator's templates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.kube.manifest import Manifest
from tests.golden.replay import FOLDER as GOLDEN
from tests.images.layout import ROOT, install
from tests.images.pods import GPU_GROUP, Network, Pod, wait_for

STANDIN = "/opt/standin"
HELD = {"STANDIN_REQUEST_UNTIL": "/tmp/answer"}
"""Requests run until the test lets them be answered: on a slow machine, too, they run while it looks."""
GPUS = {"/dev/kfd": (GPU_GROUP, 0o660)} | {f"/dev/dri/renderD{128 + n}": (GPU_GROUP, 0o660) for n in range(2)}


def golden_workload(case: str) -> Manifest:
    """The Deployment or LeaderWorkerSet of an answer that the operator stands by."""
    answer = json.loads((GOLDEN / "inferenceservice" / f"{case}.response.json").read_text())
    [found] = [child for child in answer["children"] if child["kind"] in ("Deployment", "LeaderWorkerSet")]
    return dict(found)


@dataclass
class Image:
    """What pods see of an image: our files, and a PATH with python3 and vllm."""

    path: str
    mounts: Mapping[str, tuple[str, bool]]


def standin_image(folder: Path, python: Path) -> Image:
    """The stand-in for vLLM, run by `python` (a venv or an installation)."""
    own = install(folder / "inference")
    vllm = folder / "standin"
    shutil.copytree(ROOT / "app/vllm", vllm / "app/vllm")
    shutil.copy(ROOT / "app/__init__.py", vllm / "app/__init__.py")
    shutil.copytree(ROOT / "app/fit", vllm / "app/fit")
    shutil.copy(Path(__file__).with_name("standin_vllm.py"), vllm / "vllm")
    (vllm / "vllm").chmod(0o755)
    mounts = {"/opt/inference": (str(own), True), STANDIN: (str(vllm), True)} | python_mounts(python)
    return Image(f"{STANDIN}:{python}/bin", mounts)


def real_image(folder: Path, venv: Path) -> Image:
    """Real vLLM, and ours."""
    own = install(folder / "inference")
    return Image(f"{venv}/bin", {"/opt/inference": (str(own), True)} | python_mounts(venv))


def python_mounts(prefix: Path) -> dict[str, tuple[str, bool]]:
    """A venv at its own path, and the installation that it stands on."""
    base = (prefix / "bin/python3").resolve().parents[1]
    return {str(path): (str(path), True) for path in {prefix, base} if not str(path).startswith("/usr")}


@dataclass
class Group:
    """One group: pod 0 is the leader."""

    network: Network
    workload: Manifest
    image: Image
    name: str = "group-0"
    changes: Mapping[str, str] = field(default_factory=dict)
    """Environment that the test changes in all pods."""
    mounts: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    devices: Mapping[str, tuple[int, int]] = field(default_factory=lambda: GPUS)
    pods: list[Pod] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pods = [self._pod(index) for index in range(self.size)]
        for index in range(self.size):
            self.network.publish(self.pods[index], self.address(index))

    @property
    def size(self) -> int:
        return int(self.workload["spec"].get("leaderWorkerTemplate", {}).get("size", 1))

    @property
    def leader(self) -> Pod:
        return self.pods[0]

    @property
    def workers(self) -> list[Pod]:
        return self.pods[1:]

    def address(self, index: int) -> str:
        suffix = f"-{index}" if index else ""
        return f"{self.name}{suffix}.{self.name}.models"

    def _pod(self, index: int) -> Pod:
        of = self.workload["spec"]
        template = of["template"] if "template" in of else of["leaderWorkerTemplate"][_template(index)]
        place = {
            "LWS_LEADER_ADDRESS": self.address(0),
            "LWS_GROUP_SIZE": str(self.size),
            "LWS_WORKER_INDEX": str(index),
        }
        return self.network.add(
            f"{self.name}{f'-{index}' * bool(index)}",
            template,
            path=self.image.path,
            mounts={**self.image.mounts, **self.mounts},
            env={**(place if "leaderWorkerTemplate" in of else {}), **self.changes},
            devices=self.devices,
        )

    def start(self) -> Group:
        for pod in self.pods:
            pod.start()
        return self

    def wait_healthy(self, seconds: float = 180) -> None:
        wait_for("/health answers 200", lambda: self.healthy, seconds, *self.pods)

    @property
    def healthy(self) -> bool:
        return self.network.ask(self.leader, "/health")[0] == 200

    def complete(self, prompt: str, **more: Any) -> str:
        body = {"model": self.served_name, "prompt": prompt, "max_tokens": 8, "temperature": 0} | more
        status, text = self.network.ask(self.leader, "/v1/completions", body)
        assert status == 200, text
        return str(json.loads(text)["choices"][0]["text"])

    def answer_requests(self) -> None:
        """Those that the stand-in holds, where HELD is among the changes."""
        (self.leader.folder / "tmp" / "answer").touch()

    @property
    def served_name(self) -> str:
        [found] = [it for it in self.leader.container["args"] if it.startswith("--served-model-name=")]
        return str(found.partition("=")[2])

    @property
    def model_path(self) -> str:
        return self.leader.environment()["INFERENCE_MODEL_PATH"]


def _template(index: int) -> str:
    return "workerTemplate" if index else "leaderTemplate"


def publish_model(store: Path, path: str, manifest: str = "config.json") -> None:
    """A model's folder on the volume, as the downloader leaves it or a person fills it."""
    folder = store / Path(path).relative_to("/model-store")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / manifest).touch()
