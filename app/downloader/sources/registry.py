"""The source that a task names, by the module of its type. Only its own library is loaded: all together would take more
memory than the work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from app.contracts.sources import BY_TYPE, TYPES, SourceType
from app.downloader.errors import DownloadError
from app.downloader.listing import Source
from app.downloader.sources import fields
from app.downloader.task import Task
from app.kube.conditions import ErrorClass


class SourceModule(Protocol):
    """What a module of this package has that is named by a type of source."""

    def build(self, source: Mapping[str, Any], /) -> Source:
        """The source in the JSON of its spec, without connecting to it."""


def source_module(kind: SourceType) -> SourceModule:
    return cast("SourceModule", import_module(f"{__package__}.{kind}"))


def build_source(task: Task) -> Source:
    """The source of this task; with `copy_from` it is another volume."""
    if task.copy_from:
        from app.downloader.sources.volume import VolumeSource

        return VolumeSource(task.copy_from, task.path, task.model if task.policy == "Never" else "")
    if task.source_type not in BY_TYPE:
        raise fields.bad(f"Source type must be {TYPES}.")
    require_secret(task)
    return source_module(SourceType(task.source_type)).build(task.source)


def require_secret(task: Task, environment: Mapping[str, str] = os.environ) -> None:
    """A DownloadError when the task names a Secret, and not all of its keys came with the environment: what is missing
    is said by name, before anybody is asked."""
    credentials = BY_TYPE[SourceType(task.source_type)].credentials
    keys = credentials.keys if task.secret else {}
    present = {
        name: Path(value).is_file() if name in credentials.files and value else bool(value.strip())
        for name, value in ((name, environment.get(name, "")) for name in keys)
    }
    missing = [key for name, key in keys.items() if not present[name]]
    if missing:
        named = "keys " + " and ".join(missing) if len(missing) > 1 else f"key {missing[0]}"
        message = f"Secret {task.secret} does not exist, or lacks its {named}: create it, then ask for a refresh."
        raise DownloadError(ErrorClass.CONFIGURATION, "SecretMissing", message)
