"""Messages between the service and its workers, over sockets: a length of 8 bytes, then so many bytes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from app.serving.answer import Answer, Call
from app.settings import Settings

Handler = Callable[[Call, bytes | bytearray, Settings], Answer]


@dataclass(frozen=True)
class Start:
    """What a worker is told when it starts."""

    handler: str
    """Where its Handler is: "module:function"."""
    settings: Settings


@dataclass(frozen=True)
class Job:
    """What a child is told before it gets the body."""

    call: Call
    seconds: float
    memory: int
    """Bytes that it may take."""


LENGTH = struct.Struct("!Q")


def framed(size: int) -> bytes:
    """What stands before a message of that size."""
    return LENGTH.pack(size)


def send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(framed(len(message)))
    connection.sendall(message)


def receive(connection: socket.socket) -> bytearray:
    """The next message. Raises EOFError when the other end is gone."""
    [size] = LENGTH.unpack(_exactly(connection, LENGTH.size))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytearray:
    found = bytearray(size)
    view, have = memoryview(found), 0
    while have < size:
        came = connection.recv_into(view[have:])
        if not came:
            raise EOFError
        have += came
    return found
