"""Stores for objects: real servers, with ours before them for count and trouble."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moto.server import ThreadedMotoServer

from tests.downloader.server import Server, Through
from tools.sandbox.binaries import GCS, ensure_binaries
from tools.sandbox.process import Process, free_port


@contextmanager
def s3() -> Iterator[Server]:
    """Moto's S3 behind our server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    behind = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    behind.start()
    try:
        host, port = behind.get_host_and_port()
        with Server(Through(host, port)).running() as server:
            yield server
    finally:
        behind.stop()


@contextmanager
def gcs(folder: Path) -> Iterator[Server]:
    """fake-gcs-server behind our server."""
    program, port = ensure_binaries(tools=(GCS,))[GCS.name], free_port()
    arguments = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory")
    process = Process.start(GCS.name, [program, *arguments], folder / "gcs.log")
    try:
        process.wait_until(lambda: _answers(f"http://127.0.0.1:{port}/storage/v1/b?project=x"), 120)
        with Server(Through("127.0.0.1", port)).running() as server:
            yield server
    finally:
        process.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
