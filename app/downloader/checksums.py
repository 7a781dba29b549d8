"""Hashes of files on disk, by the names that sources use for them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import google_crc32c

from app.downloader.listing import Checksum

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BLOCK = 4 << 20


class _Hash(Protocol):
    def update(self, data: ReadableBuffer, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Crc:
    """A 32 bit checksum with hashlib's two methods."""

    def __init__(self, step: Callable[[int, bytes], int]) -> None:
        self._step, self._value = step, 0

    def update(self, data: ReadableBuffer, /) -> None:
        self._value = self._step(self._value, bytes(data))

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _git_sha1(size: int) -> _Hash:
    """Git hashes a blob with its size before it."""
    return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)


_HASHES: dict[str, Callable[[int], _Hash]] = {
    "sha256": lambda _: hashlib.sha256(),
    "sha1": lambda _: hashlib.sha1(usedforsecurity=False),
    "git-sha1": _git_sha1,
    "md5": lambda _: hashlib.md5(usedforsecurity=False),
    "crc32c": lambda _: _Crc(lambda value, data: int(google_crc32c.extend(value, data))),
    "crc32": lambda _: _Crc(lambda value, data: zlib.crc32(data, value)),
}


def file_checksum(path: Path, algorithm: str) -> Checksum:
    """The checksum of a file; memory stays at one block whatever its size."""
    result = _HASHES[algorithm](path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        block = bytearray(BLOCK)
        view = memoryview(block)
        while count := file.readinto(block):
            result.update(view[:count])
    return Checksum(algorithm, result.hexdigest())


def knows(algorithm: str) -> bool:
    return algorithm in _HASHES
