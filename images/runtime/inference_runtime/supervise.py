"""vLLM as a child of the container's first process, so that the cause of its end becomes the termination message.

The kubelet takes a log's last 2 KiB for one, and there stands the API server's "See root cause above". So what vLLM
prints is handed on as it comes, its end is kept, and the cause is looked for once it has ended. Signals go on to vLLM,
its exit code is the container's, and what its own processes leave behind is reaped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType

from app.contracts.crash import CauseKind, find_cause
from inference_runtime.failure import EXIT_CONFIGURATION, Failure, log, write_message

KEPT_BYTES = 256 << 10
"""Of the end of the log: the tracebacks of eight workers, their engine and the API server."""
_CHUNK_BYTES = 64 << 10
_REST_SECONDS = 2
"""How long processes that vLLM leaves behind may hold its output open."""
_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Output:
    """What a process prints, handed on to stdout as it comes; its end is kept."""

    def __init__(self, source: int, kept: int = KEPT_BYTES) -> None:
        self._source, self._kept, self._end = source, kept, b""
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        while chunk := os.read(self._source, _CHUNK_BYTES):
            _write_whole(chunk)
            self._end = (self._end + chunk)[-self._kept :]

    def end(self) -> str:
        """The last of it, once the process has ended."""
        self._thread.join(timeout=_REST_SECONDS)
        return self._end.decode(errors="replace")


def _write_whole(chunk: bytes) -> None:
    """To the log. One that cannot be written must not stop vLLM, which would block on a full pipe."""
    view = memoryview(chunk)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(sys.stdout.fileno(), view) :]


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run the command to its end; its exit code, 128 + number for a signal."""
    source, sink = os.pipe()
    child: list[int] = []
    stopping: list[int] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        stopping.append(number)
        if child:
            _kill(child[0], number)

    for number in _HANDED_ON:
        signal.signal(number, hand_on)
    try:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not in this image's PATH", EXIT_CONFIGURATION) from None
    child.append(process.pid)
    for early in stopping:
        _kill(process.pid, early)
    os.close(sink)
    output = Output(source)
    code = _wait(process.pid)
    end = output.end()
    if not stopping:
        tell(end, code)
    return code


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait(pid: int) -> int:
    """The exit code of the child; orphans that became ours are reaped meanwhile."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def tell(end: str, code: int) -> None:
    """The cause as termination message. vLLM may end with 0 although its engine has died, and where no cause is found
    the end of the log, or what the probes have left, says more."""
    cause = find_cause(end)
    if not cause.text or (cause.kind is CauseKind.UNKNOWN and not _tells(cause.text)):
        return
    log(f"vLLM ended with status {code}: {cause.text}")
    write_message(cause.text)


def _tells(text: str) -> bool:
    """Whether an unknown cause is an exception, and no line that happens to be the last."""
    return "Error" in text.partition(":")[0] or "Exception" in text.partition(":")[0]
