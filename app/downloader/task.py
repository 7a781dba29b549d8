"""What this run is to do: the environment of app.contracts.download, and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.contracts import download as contract
from app.downloader.egress import ALWAYS_REFUSED, Egress, parse_egress
from app.downloader.errors import DownloadError
from app.downloader.names import problem_of
from app.kube.conditions import ErrorClass

POLICIES = ("Always", "IfNotPresent", "Never")
RETRY_SECONDS = "INFERENCE_RETRY_SECONDS"
"""Seconds without a new byte until this process gives up and leaves it to the Job's next pod."""
TERMINATION_LOG = "INFERENCE_TERMINATION_LOG"
"""File for the last message; Kubernetes reads /dev/termination-log."""


@dataclass(frozen=True)
class Task:
    """One run."""

    model: str
    source_type: str
    source: Mapping[str, Any]
    volume: Path
    path: str
    """Folder below the volume, one part."""
    cache: str = ""
    """namespace/name of the ModelCache that it is for; "" = not known."""
    policy: str = "IfNotPresent"
    volume_bytes: int | None = None
    """What may be written to the volume in all; None = what is free there."""
    keep: int | None = None
    """Other finished folders of the model to keep; None = all."""
    copy_from: Path | None = None
    job: str = ""
    """namespace/name; "" = report to the log only."""
    secret: str = ""
    """The Secret that the source refers to; "" = none."""
    retry_seconds: float = 600.0
    egress: Egress = ALWAYS_REFUSED
    """Where sources may lead."""

    @property
    def only_verifies(self) -> bool:
        """Whether nothing is written: policy Never, but for a further copy, which must be filled from the first."""
        return self.policy == "Never" and self.copy_from is None


def parse_task(environment: Mapping[str, str]) -> Task:
    """The task in the environment; a DownloadError of class Configuration names what is missing or wrong."""
    policy = environment.get(contract.POLICY, "IfNotPresent")
    if policy not in POLICIES:
        raise _wrong(contract.POLICY, f"must be one of {', '.join(POLICIES)}")
    copy_from = environment.get(contract.COPY_FROM)
    return Task(
        model=_need(environment, contract.MODEL_NAME),
        source_type=_need(environment, contract.SOURCE_TYPE),
        source=_object(environment, contract.SOURCE),
        volume=_folder(environment, contract.VOLUME),
        path=_path(environment),
        cache=environment.get(contract.CACHE, ""),
        policy=policy,
        volume_bytes=_maybe_count(environment, contract.VOLUME_BYTES),
        keep=_maybe_count(environment, contract.KEEP),
        copy_from=_folder(environment, contract.COPY_FROM) if copy_from else None,
        job=environment.get(contract.JOB, ""),
        secret=environment.get(contract.SECRET, ""),
        retry_seconds=_number(RETRY_SECONDS, environment.get(RETRY_SECONDS, "600")),
        egress=parse_egress(environment),
    )


def termination_log(environment: Mapping[str, str]) -> Path:
    return Path(environment.get(TERMINATION_LOG, "/dev/termination-log"))


def _need(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise _wrong(name, "must be set")
    return value


def _object(environment: Mapping[str, str], name: str) -> Mapping[str, Any]:
    try:
        value = json.loads(_need(environment, name))
    except ValueError as error:
        raise _wrong(name, "must be JSON") from error
    if not isinstance(value, dict):
        raise _wrong(name, "must be a JSON object")
    return value


def _folder(environment: Mapping[str, str], name: str) -> Path:
    folder = Path(_need(environment, name))
    if not folder.is_absolute() or not folder.is_dir():
        raise _wrong(name, f"must be a folder, and {folder} is none")
    return folder


def _path(environment: Mapping[str, str]) -> str:
    path = _need(environment, contract.PATH)
    if "/" in path or path.startswith(".") or problem_of(path):
        raise _wrong(contract.PATH, "must be one folder's name that does not start with a dot")
    return path


def _maybe_count(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    return int(_number(name, text)) if text else None


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise _wrong(name, "must be a number") from error
    if not 0 <= value < math.inf:
        raise _wrong(name, "must be 0 or more")
    return value


def _wrong(name: str, problem: str) -> DownloadError:
    return DownloadError(ErrorClass.CONFIGURATION, "BadSettings", f"Environment variable {name} {problem}.")
