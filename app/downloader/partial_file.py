"""A file that is not finished: it only grows at its end, so whatever ends the process, what is there stays good."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.downloader.errors import Terminated

CHUNK = 256 << 10
"""Bytes that sources write at once: a cut or a kill loses at most so much of what had come."""

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@dataclass(frozen=True)
class PartialFile:
    """One unfinished file, and the word to stop."""

    path: Path
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def size(self) -> int:
        """Bytes that are there."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def open(self) -> AppendOnlyFile:
        """Open at its end; it is made when it is not there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.path.touch(exist_ok=False)
        return AppendOnlyFile(self.path, self.stop)

    def discard(self) -> None:
        """Begin anew. Never truncated: it may be a second name of a published file."""
        self.path.unlink(missing_ok=True)


class AppendOnlyFile(io.FileIO):
    """Unbuffered; each write is whole, or Terminated is raised before it."""

    def __init__(self, path: Path, stop: threading.Event) -> None:
        super().__init__(path, "r+")
        self.seek(0, io.SEEK_END)
        self._stop = stop

    def write(self, data: ReadableBuffer, /) -> int:
        if self._stop.is_set():
            raise Terminated
        view = memoryview(data).cast("B")
        written = 0
        while written < len(view):
            written += super().write(view[written:]) or 0
        return written
