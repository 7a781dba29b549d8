"""Hostile clients of the hook service, beside Metacontroller: what people ask for is made all the same."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx

from tests.cluster.world import World, service

HALF = b"POST /sync/inferenceservice HTTP/1.1\r\nHost: hooks\r\n"


@contextmanager
def attacked(port: int) -> Iterator[None]:
    """Half headers, bodies that do not come, bodies that are too long, and lists that grow when they are read."""
    ended = threading.Event()

    def post_lists() -> None:
        lists = b"[" + b"[]," * 500_000 + b"[]]"
        while not ended.is_set():
            with suppress(httpx.TransportError):
                for path in ("/sync/inferenceservice", "/sync/gpupool"):
                    httpx.post(f"http://127.0.0.1:{port}{path}", content=lists)

    with ExitStack() as held:
        for end in [b"X: y"] * 200 + [b"Content-Length: 4000000\r\n\r\n" + b"x" * 1_000_000] * 8:
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(HALF + end)
        thread = threading.Thread(target=post_lists)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def test_services_are_made_while_the_hooks_are_attacked(world: World) -> None:
    with attacked(world.operator.hooks.port):
        world.apply(service("quiet"))
        world.wait_ready("quiet")
        assert httpx.get(f"{world.operator.hooks.url}/healthz").status_code == 200
    assert httpx.post(f"{world.operator.hooks.url}/sync/modelcache", content=b" " * 5_000_000).status_code == 413
