"""A real uvicorn on loopback, in a thread, as the service runs it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from app.serving.server import config

HANG_SECONDS = 120.0
"""Ends a test that hangs. Nothing that goes well is measured by it, however slow the machine is."""


@dataclass(frozen=True)
class Running:
    """Where it listens, and its connections."""

    port: int
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=HANG_SECONDS)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", timeout=HANG_SECONDS)

    def post(self, path: str, **content: Any) -> httpx2.Response:
        return httpx2.post(f"{self.url}{path}", timeout=HANG_SECONDS, **content)


@contextmanager
def serving(app: FastAPI, **options: Any) -> Iterator[Running]:
    server = uvicorn.Server(config(app, **options))
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield Running(listening.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(HANG_SECONDS)
            assert not thread.is_alive()


def wait_until(true: Any, seconds: float = HANG_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def read_to_end(connection: socket.socket) -> bytes:
    """All that the server says until it closes: a head and its body may come one by one."""
    said = b""
    while more := connection.recv(65536):
        said += more
    return said


def is_closed(connection: socket.socket) -> bool:
    """Whether the server ends the connection; what it says before is skipped."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def children(pid: int | None) -> list[int]:
    try:
        return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
