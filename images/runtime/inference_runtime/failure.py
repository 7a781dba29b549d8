"""Expected failures: one sentence for people, which becomes the pod's termination message, and an exit code."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from app.contracts.runtime import TERMINATION_LOG

EXIT_TIMEOUT = 75
"""Something did not come in time; another attempt may succeed (sysexits: EX_TEMPFAIL)."""
EXIT_CONFIGURATION = 78
"""Somebody must change something first (sysexits: EX_CONFIG)."""
EXIT_UNAVAILABLE = 69
"""A device or a peer that must be there is not (sysexits: EX_UNAVAILABLE)."""


class Failure(Exception):  # noqa: N818 - it is told to people, not raised at programmers
    """Why this pod cannot go on; `message` is one line."""

    def __init__(self, message: str, code: int = EXIT_TIMEOUT) -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.code = code


def log(text: str) -> None:
    """One line on stdout, with the time, at once."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} inference: {text}", flush=True)


def report(failure: Failure) -> None:
    """The reason in the log and in the termination message."""
    log(f"failed: {failure.message}")
    write_message(failure.message)


def termination_log() -> Path:
    return Path(os.environ.get(TERMINATION_LOG) or "/dev/termination-log")


def write_message(message: str) -> None:
    """Replace the termination message; "" gives way to the end of the log. Without the file, the log must do."""
    try:
        with termination_log().open("r+" if termination_log().exists() else "w") as file:
            file.truncate(0)
            file.write(f"{message}\n" if message else "")
    except OSError as error:
        print(f"inference: no termination message: {error}", file=sys.stderr, flush=True)
