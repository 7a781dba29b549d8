"""ssh-session: the one thing that the group's key may do on a worker, namely start Open MPI's daemon there.

sshd gives a session none of the container's environment, so start-worker leaves it in a file, explicitly and whole. The
end of the daemon is the end of the group on this pod: the exit code is left beside it, and start-worker told.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference_runtime.ssh import FOLDER

NAME = "ssh-session"
CHECK = "check"
"""The leader's question before it starts anything: does this worker take the key?"""
SUPERVISOR = "supervisor"
ENVIRONMENT = "environment"
_DAEMON = re.compile(r"(^|[\s/;])orted(\s|$)")
_REFUSED = 126


def save_environment(folder: Path, environment: Mapping[str, str], supervisor: int) -> None:
    path = folder / "session.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({ENVIRONMENT: dict(environment), SUPERVISOR: supervisor}))


def begun(folder: Path = FOLDER) -> bool:
    return (folder / "begun").exists()


def exit_code(folder: Path = FOLDER) -> int | None:
    """How the launcher's session ended, None while it has not."""
    try:
        return int((folder / "ended").read_text())
    except (OSError, ValueError):
        return None


def run_session(_: Sequence[str]) -> int:
    command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    if command == CHECK:
        return 0
    if not _DAEMON.search(command):
        print("this key starts Open MPI's daemon and nothing else", file=sys.stderr)
        return _REFUSED
    saved = json.loads((FOLDER / "session.json").read_text())
    (FOLDER / "begun").touch()
    code = subprocess.run(["/bin/sh", "-c", command], env=saved[ENVIRONMENT]).returncode
    partial = FOLDER / "ended.partial"
    partial.write_text(str(code if code >= 0 else 128 - code))
    partial.rename(FOLDER / "ended")
    os.kill(int(saved[SUPERVISOR]), signal.SIGUSR1)
    return code
