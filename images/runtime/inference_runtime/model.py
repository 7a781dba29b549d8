"""Wait until the model's folder is published."""

from __future__ import annotations

from pathlib import Path

from app.contracts.runtime import PUBLISHED
from inference_runtime.failure import Failure, log
from inference_runtime.waiting import wait_until


def wait_for_model(path: str, seconds: float) -> None:
    """Return when the folder holds a complete model; nothing to do where vLLM fetches the model itself."""
    if not path:
        return
    missing = wait_until(lambda: missing_model(Path(path)), seconds)
    if missing:
        raise Failure(f"model: {missing} after {seconds:.0f} s; look at the ModelCache and its download Job")
    log(f"the model is in {path}")


def missing_model(folder: Path) -> str:
    """What the folder lacks, "" when it is published."""
    try:
        if not folder.is_dir():
            return f"folder {folder} is not there"
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        return f"folder {folder} cannot be read ({error.strerror})"
    if names & set(PUBLISHED):
        return ""
    return f"folder {folder} has neither {' nor '.join(PUBLISHED)}" if names else f"folder {folder} is empty"
