"""A stand-in for an endpoint: it streams as vLLM does, with known delays, and can be told to fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tools.sandbox.serving import serving


class Endpoint:
    """A running stand-in. Seconds to the first token and between tokens are as set."""

    def __init__(self) -> None:
        self.first_token, self.token_gap = 0.03, 0.005
        self.fail_every = 0
        self.break_off = False
        self.bodies: list[dict[str, Any]] = []
        self.most_at_once = self._now = 0
        self.gather = 0
        """Nothing is answered until so many requests have been under way at once."""
        self._changed = threading.Condition()
        endpoint = self

        class Handler(_Handler):
            standin = endpoint

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def enter(self, body: dict[str, Any]) -> int:
        with self._changed:
            self.bodies.append(body)
            number = len(self.bodies)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most_at_once >= self.gather, 60)
            return number

    def leave(self) -> None:
        with self._changed:
            self._now -= 1

    @contextmanager
    def running(self) -> Iterator[Endpoint]:
        with serving(self._server):
            yield self


class _Handler(BaseHTTPRequestHandler):
    standin: Endpoint
    protocol_version = "HTTP/1.1"
    under_way = False

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(json.dumps({"data": [{"id": "standin"}]}).encode())
        elif self.path == "/metrics":
            self._send(b'vllm:num_requests_running{engine="0"} 3.0\nvllm:kv_cache_usage_perc{engine="0"} 0.25\n')
        else:
            self._send(b"", 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = self.standin.enter(body)
        self.under_way = True
        try:
            if self.standin.fail_every and number % self.standin.fail_every == 0:
                self._send(b'{"message": "overloaded"}', 503)
            else:
                self._stream(body)
        finally:
            self._leave()

    def _leave(self) -> None:
        if self.under_way:
            self.under_way = False
            self.standin.leave()

    def _send(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        time.sleep(self.standin.first_token)
        for number in range(body["max_tokens"]):
            if number:
                time.sleep(self.standin.token_gap)
            part = {"delta": {"content": "x"}} if "messages" in body else {"text": "x"}
            self._event({"choices": [part]})
            if self.standin.break_off:
                self.close_connection = True
                return
        self._event({"choices": [], "usage": {"completion_tokens": body["max_tokens"]}})
        self._leave()  # before, for the client sends its next request when it has read this
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, event: dict[str, Any]) -> None:
        self._chunk(f"data: {json.dumps(event)}\n\n".encode())

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint().running() as running:
        yield running
