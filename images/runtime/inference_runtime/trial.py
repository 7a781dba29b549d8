"""A request for one token, asked by a process that outlives the probe: an engine that rests answers it at once.

It is asked only where a client's connection has stayed open for long while vLLM says that nothing runs. vLLM closes
connections 5 s after its last answer, so such a client waits for an answer, or has not asked yet.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"


def find_clients(port: int) -> frozenset[str]:
    """The far ends of connections to this port of the pod, as the kernel writes them."""
    return frozenset(found for table in _TABLES for found in parse_clients(_read(table), port))


def _read(table: Path) -> str:
    with contextlib.suppress(OSError):  # a kernel without IPv6 has one table
        return table.read_text()
    return ""


def parse_clients(table: str, port: int) -> Iterator[str]:
    """Of /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port:
            yield remote


def start(base: str, model: str, seconds: float) -> str:
    """Ask the server at `base` in a process of its own, which ends with the answer or after so many seconds; its name
    for `runs`. It is nobody's child when the probe has ended: the container's first process reaps it."""
    pid = os.fork()
    if pid:
        return _name(pid)
    with contextlib.suppress(BaseException):  # whatever happens, this process is not the probe
        _leave()
        signal.alarm(int(seconds))
        body = {"model": model, "prompt": [0], "max_tokens": 1, "temperature": 0}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{base}/v1/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            answer.read()
    os._exit(0)


def _leave() -> None:
    """Nothing of the probe's stays open, for whoever runs it waits for the end of its output."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)


def runs(name: str) -> bool:
    """Whether the process has not ended yet; the number alone may be another's by now."""
    pid = name.partition("@")[0]
    return pid.isdecimal() and _name(int(pid)) == name


def _name(pid: int) -> str:
    """Process and start time, "" when it has ended: fields 3 (state) and 22 of its stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{pid}@{fields[19]}"
