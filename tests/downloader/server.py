"""An HTTP server on loopback that keeps count of what it sends, and makes the troubles that a test orders."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tools.sandbox.serving import serving

BLOCK = 1 << 16


@dataclass
class Trouble:
    """What goes wrong with requests whose path has this text in it, `times` times."""

    path: str
    times: int = 1
    method: str = "GET"
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """Bytes of the body after which the connection breaks."""
    corrupt_at: int | None = None
    """A byte of the body that arrives wrong."""
    pause: float = 0.0
    """Seconds before each block of the body."""
    gate: threading.Event | None = None
    """Nothing more is sent after `cut_at` bytes until it is set."""


@dataclass
class Answer:
    """What a backend says."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class Backend(Protocol):
    def __call__(self, asked: Asked, /) -> Answer: ...


class Server:
    """A backend, its troubles, and what was asked and sent."""

    def __init__(self, backend: Backend, tls: Path | None = None) -> None:
        self.backend = backend
        self.troubles: list[Trouble] = []
        self.sent: Counter[str] = Counter()
        """Bytes of bodies by path, without query."""
        self.asked: list[Asked] = []
        self.says_length = True
        """Whether answers without a Content-Length get one; False ends them by closing the connection."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @contextmanager
    def running(self) -> Iterator[Server]:
        with serving(self._server):
            yield self

    def sent_of(self, text: str) -> int:
        """Bytes of bodies sent for paths with this text in them."""
        return sum(count for path, count in self.sent.items() if text in path)

    def requests_of(self, text: str, method: str = "GET") -> list[Asked]:
        return [it for it in self.asked if text in it.path and it.method == method]

    def take_trouble(self, asked: Asked) -> Trouble | None:
        with self._lock:
            for trouble in self.troubles:
                if trouble.times > 0 and trouble.path in asked.path and trouble.method == asked.method:
                    trouble.times -= 1
                    return trouble
        return None

    def note(self, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)

    def count(self, path: str, size: int) -> None:
        with self._lock:
            self.sent[urlsplit(path).path] += size


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
            server.note(asked)
            trouble = server.take_trouble(asked)
            if trouble and trouble.status:
                self._send(Answer(trouble.status, b"no", trouble.headers), None, asked)
            else:
                self._send(server.backend(asked), trouble, asked)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        def _send(self, answer: Answer, trouble: Trouble | None, asked: Asked) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            known = {"Content-Length", "Transfer-Encoding"} & set(answer.headers)
            if not known and not server.says_length:
                self.send_header("Connection", "close")
            elif not known:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if asked.method != "HEAD":
                self._send_body(answer.body, trouble or Trouble(""), asked.path)

        def _send_body(self, body: bytes, trouble: Trouble, path: str) -> None:
            if trouble.corrupt_at is not None:
                changed = bytearray(body)
                changed[trouble.corrupt_at] ^= 0xFF
                body = bytes(changed)
            end = len(body) if trouble.cut_at is None else trouble.cut_at
            block = 1 << 10 if trouble.pause else BLOCK
            for begin in range(0, end, block):
                time.sleep(trouble.pause)
                piece = body[begin : min(end, begin + block)]
                server.count(path, len(piece))  # before, for whoever has the last piece may look
                try:
                    self.wfile.write(piece)
                except OSError:
                    server.count(path, -len(piece))
                    return
            if trouble.cut_at is not None:
                self.wfile.flush()
                if trouble.gate:
                    trouble.gate.wait(600)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def ranged(asked: Asked, content: bytes, etag: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The content, or the part of it that Range and If-Range ask for."""
    given = {"ETag": etag, "Accept-Ranges": "bytes", "Last-Modified": formatdate(0, usegmt=True), **(headers or {})}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range", ""))
    if not match or asked.headers.get("If-Range", etag) != etag:
        return Answer(200, content, given)
    begin = int(match[1])
    if begin >= len(content):
        return Answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
    end = min(int(match[2] or len(content) - 1), len(content) - 1)
    return Answer(206, content[begin : end + 1], {**given, "Content-Range": f"bytes {begin}-{end}/{len(content)}"})


def head_of(answer: Answer, size: int) -> Answer:
    """What HEAD answers where GET answers this."""
    return Answer(200, b"", {**answer.headers, "Content-Length": str(size)})


@dataclass
class Files:
    """A plain web server's files by path."""

    contents: dict[str, bytes]
    etags: dict[str, str] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Answer:
        path = urlsplit(asked.path).path
        if path not in self.contents:
            return Answer(404, b"not here")
        content = self.contents[path]
        answer = ranged(asked, content, self.etags.get(path, f'"{hash(content):x}"'))
        return (
            answer
            if asked.method == "GET"
            else Answer(200, b"", {**answer.headers, "Content-Length": str(len(content))})
        )


@dataclass
class Through:
    """Another server behind this one, so that its clients meet troubles too."""

    host: str
    port: int

    def __call__(self, asked: Asked) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(asked.method, asked.path, asked.body, dict(asked.headers))
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        hop = {"transfer-encoding", "connection", "date", "server", "keep-alive"}
        headers = {name: value for name, value in response.getheaders() if name.lower() not in hop}
        if asked.method != "HEAD":
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        return Answer(response.status, body, headers)
