"""Hostile clients of the hook service, beside Metacontroller: what people ask for is made all the same."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx2

from tests.cluster.world import LOOK_SECONDS, World, service
from tools.sandbox.cluster import wait_until

HALF = b"POST /sync/inferenceservice HTTP/1.1\r\nHost: hooks\r\n"


@contextmanager
def attacked(port: int) -> Iterator[None]:
    """Half headers, bodies that do not come, bodies that are too long, and lists that grow when they are read."""
    ended = threading.Event()

    def post_lists() -> None:
        lists = b"[" + b"[]," * 500_000 + b"[]]"
        while not ended.is_set():
            with suppress(httpx2.TransportError):
                for path in ("/sync/inferenceservice", "/sync/gpupool"):
                    httpx2.post(f"http://127.0.0.1:{port}{path}", content=lists)

    with ExitStack() as held:
        for end in [b"X: y"] * 200 + [b"Content-Length: 4000000\r\n\r\n" + b"x" * 1_000_000] * 8:
            with suppress(OSError):  # the service may have had enough of it
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
        assert httpx2.get(f"{world.operator.hooks.url}/healthz", timeout=LOOK_SECONDS).status_code == 200
    wait_until(lambda: says_to(world, b" " * 5_000_000) == 413, "a body that is too long is refused again")


def says_to(world: World, content: bytes) -> int:
    """The status of a sync, 0 without an answer: those who attacked may still be in the way."""
    try:
        url = f"{world.operator.hooks.url}/sync/modelcache"
        return httpx2.post(url, content=content, timeout=LOOK_SECONDS).status_code
    except httpx2.TransportError:
        return 0
