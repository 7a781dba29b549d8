"""The hook service in the sandbox: the real application in a process of its own, with the settings of deploy/base."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.sandbox.process import PATIENCE_SECONDS, Process, free_port

PROJECT = Path(__file__).parents[2]
SETTINGS = PROJECT / "deploy" / "base" / "settings.env"


def read_settings(path: Path = SETTINGS) -> dict[str, str]:
    """NAME=value lines, as kustomize's configMapGenerator reads them."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


class Hooks:
    """A running hook service; its port stays the same over restarts."""

    def __init__(self, directory: Path, settings: Mapping[str, str], record: Path | None = None) -> None:
        self.port = free_port()
        self._log = directory / "hooks.log"
        self._record = record
        self._settings = dict(settings)
        self._process = self._launch()

    @classmethod
    @contextmanager
    def start(
        cls, directory: Path, settings: Mapping[str, str] | None = None, record: Path | None = None
    ) -> Iterator[Hooks]:
        """Answer hooks until the block is left. With `record`, every sync request is kept in that folder."""
        running = cls(directory, read_settings() if settings is None else settings, record)
        try:
            yield running
        finally:
            running.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def settings(self) -> dict[str, str]:
        return dict(self._settings)

    def restart(self, settings: Mapping[str, str] | None = None) -> None:
        """End the process and start another, with other settings when given."""
        self._process.stop()
        self._settings = dict(self._settings if settings is None else settings)
        self._process = self._launch()

    def check(self) -> None:
        self._process.check()

    def stop(self) -> None:
        self._process.stop()

    def _launch(self) -> Process:
        argv = [sys.executable, "-m", "app", "serve", "--host=127.0.0.1", f"--port={self.port}"]
        if self._record:
            argv = [sys.executable, "-m", "tools.sandbox.record", f"--port={self.port}", str(self._record)]
        env = {"PYTHONPATH": str(PROJECT), **self._settings}
        _forget_own_settings()
        process = Process.start("hooks", argv, self._log, env)
        process.wait_until(self._ready, PATIENCE_SECONDS)
        return process

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _forget_own_settings() -> None:
    """Settings of the caller's shell would otherwise mix with those that were asked for."""
    for name in [name for name in os.environ if name.startswith("INFERENCE_")]:
        del os.environ[name]
