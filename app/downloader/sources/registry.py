"""The source that a task names. Only its own library is loaded: together they would take more memory than the work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from app.contracts.download import SECRET_KEYS
from app.downloader.errors import DownloadError
from app.downloader.listing import Source
from app.downloader.task import Task
from app.kube.conditions import ErrorClass

_FILES = frozenset({"GOOGLE_APPLICATION_CREDENTIALS"})


def build_source(task: Task) -> Source:
    """The source of this task; with `copy_from` it is another volume."""
    if task.copy_from:
        from app.downloader.sources.volume import VolumeSource

        return VolumeSource(task.copy_from, task.path, task.model if task.policy == "Never" else "")
    require_secret(task)
    match task.source_type:
        case "huggingface":
            from app.downloader.sources.huggingface import HuggingFaceSource

            return HuggingFaceSource(task.source)
        case "s3":
            from app.downloader.sources.s3 import S3Source

            return S3Source(task.source)
        case "gcs":
            from app.downloader.sources.gcs import GCSSource

            return GCSSource(task.source)
        case "http":
            from app.downloader.sources.http import HTTPSource

            return HTTPSource(task.source)
    raise DownloadError(ErrorClass.CONFIGURATION, "BadSource", "Source type must be huggingface, s3, gcs or http.")


def require_secret(task: Task, environment: Mapping[str, str] = os.environ) -> None:
    """A DownloadError when the task names a Secret, and not all of its keys came with the environment."""
    keys = SECRET_KEYS.get(task.source_type, {}) if task.secret else {}
    missing = [key for variable, key in keys.items() if not _is_there(variable, environment.get(variable, ""))]
    if missing:
        named = "keys " + " and ".join(missing) if len(missing) > 1 else f"key {missing[0]}"
        message = f"Secret {task.secret} does not exist, or lacks its {named}: create it, then ask for a refresh."
        raise DownloadError(ErrorClass.CONFIGURATION, "SecretMissing", message)


def _is_there(variable: str, value: str) -> bool:
    return Path(value).is_file() if variable in _FILES and value else bool(value.strip())
