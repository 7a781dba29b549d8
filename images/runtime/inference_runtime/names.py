"""Name resolution that tries again: in its first seconds a pod's name may not be known yet."""

from __future__ import annotations

import socket

from inference_runtime.failure import Failure
from inference_runtime.waiting import wait_until


def wait_for_name(name: str, seconds: float) -> None:
    """Return when the name has an address."""
    if missing := wait_until(lambda: unresolved(name), seconds):
        raise Failure(f"name: {missing} after {seconds:.0f} s; is the group's headless Service there, and cluster DNS?")


def unresolved(name: str) -> str:
    """Why the name has no address, "" when it has."""
    try:
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"{name} does not resolve ({error.args[-1]})"
    return ""
