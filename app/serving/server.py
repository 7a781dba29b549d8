"""How the hook service listens: bounded connections, and the probes on a port of their own."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.serving.probes import build_probes_app
from app.serving.protocol import BoundedProtocol

SHUTDOWN_SECONDS = 20
"""How long requests may take to end after SIGTERM: as long as Metacontroller waits for them."""
ALL_ADDRESSES = ""


class ListenError(Exception):
    """An address that cannot be listened on; the message is all that is shown."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; of all addresses, of both families, where no host is given. Raises ListenError."""
    both = host == ALL_ADDRESSES and socket.has_dualstack_ipv6()
    where = host or "all addresses"
    if not 0 <= port < 1 << 16:
        raise ListenError(f"cannot listen on {where}, port {port}: ports end at 65535")
    family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)
    except OSError as error:
        raise ListenError(f"cannot listen on {where}, port {port}: {_said(error)}") from None


def _said(error: OSError) -> str:
    """Look-ups of names have errors of their own, with numbers below 0."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def run(app: FastAPI, hooks: socket.socket, probes: socket.socket | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    if probes:
        server = uvicorn.Server(config(build_probes_app(app.state.pulse)))
        threading.Thread(target=server.run, args=([probes],), name="probes", daemon=True).start()
    uvicorn.Server(config(app)).run([hooks])


def config(app: FastAPI, **options: Any) -> uvicorn.Config:
    """How every port of the service is served."""
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        **options,
    )
