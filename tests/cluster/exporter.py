"""An exporter of AMD's GPU metrics as far as the agent asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.agent.exposition import exposition
from tools.sandbox.serving import serving


class Exporter:
    """An HTTP server on loopback that answers as AMD's device-metrics-exporter does."""

    def __init__(self) -> None:
        self.holders: dict[int, tuple[str, str]] = {}
        """GPU -> namespace and name of the pod that holds it."""
        self.asked = 0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.asked += 1
                body = exposition(exporter.holders).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Exporter]:
        exporter = cls()
        with serving(exporter._server):
            yield exporter
