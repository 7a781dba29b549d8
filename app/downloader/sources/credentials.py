"""The Secret that a source refers to: what of it is missing is said by name, before anybody is asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from app.contracts.download import SECRET_KEYS
from app.downloader.fault import Fault
from app.downloader.task import Task
from app.kube.conditions import ErrorClass

_FILES = frozenset({"GOOGLE_APPLICATION_CREDENTIALS"})


def require_secret(task: Task, environment: Mapping[str, str] = os.environ) -> None:
    """A Fault when the task names a Secret, and not all of its keys came with the environment."""
    keys = SECRET_KEYS.get(task.source_type, {}) if task.secret else {}
    missing = [key for variable, key in keys.items() if not _is_there(variable, environment.get(variable, ""))]
    if missing:
        named = "keys " + " and ".join(missing) if len(missing) > 1 else f"key {missing[0]}"
        message = f"Secret {task.secret} does not exist, or lacks its {named}: create it, then ask for a refresh."
        raise Fault(ErrorClass.CONFIGURATION, "SecretMissing", message)


def _is_there(variable: str, value: str) -> bool:
    return Path(value).is_file() if variable in _FILES and value else bool(value.strip())
