"""Worker processes as the service sees them: bytes go there, bytes come back, or the work was ended.

Only one sync of a pool decides for all of its services, so it may compute for seconds. It does so in a process of its
own (see app.serving.worker): the event loop stays free, and a time limit can really end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.serving import messages
from app.serving.answer import Answer, Call
from app.serving.messages import Job, Start
from app.settings import Settings

SECONDS = 15.0
"""A pool is decided in this time or not at all; Metacontroller waits for 20 s."""
SLOTS = 2
"""Calls that are computed at the same time: one slow pool leaves room for another."""
GRACE_SECONDS = 4.0
"""A child ends itself at its deadline; so much later the service gives up on it. The first call waits for imports."""
PATIENCE_SECONDS = 3.0
"""A call waits so long for a slot."""
MEMORY_BASE = 192 << 20
MEMORY_PER_BYTE = 12
"""Bytes of memory for each byte of the body; JSON of many small objects takes ten as Python objects."""

HANDLER = "app.serving.answer:answer"


class OverrunError(Exception):
    """The work was ended: it took too long, too much memory, or its process died. The message says which."""


class NoWorkerError(Exception):
    """Every worker is busy."""


def memory_for(size: int) -> int:
    """Bytes that a child may take for a body of that size."""
    return MEMORY_BASE + MEMORY_PER_BYTE * size


class Workers:
    """Decide pools in processes of their own."""

    def __init__(self, settings: Settings, handler: str = HANDLER, seconds: float = SECONDS) -> None:
        self._start = pickle.dumps(Start(handler, settings))
        self._seconds = seconds
        self._slots = asyncio.Semaphore(SLOTS)
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._end = weakref.finalize(self, lambda: None)

    @property
    def pid(self) -> int | None:
        return self._running.process.pid if self._running else None

    def start(self) -> None:
        """Have a warm process; nothing happens where there is one."""
        with self._lock:
            if self._running and self._running.process.poll() is None:
                return
            self._end()
            self._running = _launch(self._start)
            self._end = weakref.finalize(self, self._running.end)

    def stop(self) -> None:
        """End the process and whatever it computes."""
        with self._lock:
            self._end()
            self._running = None

    async def answer(self, call: Call, body: bytes | bytearray) -> Answer:
        """What the hook answers. Raises OverrunError and NoWorkerError."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise NoWorkerError from None
        try:
            return await self._computed(call, body)
        finally:
            self._slots.release()

    async def _computed(self, call: Call, body: bytes | bytearray) -> Answer:
        loop = asyncio.get_running_loop()
        job = pickle.dumps(Job(call, self._seconds, memory_for(len(body))))
        begun = loop.time()
        try:
            async with asyncio.timeout(self._seconds + GRACE_SECONDS):
                with self._connected() as connection:
                    for message in (job, body):
                        await loop.sock_sendall(connection, messages.framed(len(message)))
                        await loop.sock_sendall(connection, message)
                    code, phase, stray = pickle.loads(await _receive(connection))
                    return Answer(code, bytes(await _receive(connection)), phase, stray)
        except (EOFError, OSError) as error:  # a TimeoutError is an OSError
            late = loop.time() - begun >= self._seconds
            why = f"took longer than {self._seconds:g} s" if late else "ran out of memory, or its process died"
            raise OverrunError(why) from error

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        """A connection to a child of its own."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                self._hand_over(theirs)
            yield ours

    def _hand_over(self, connection: socket.socket) -> None:
        """To the process that forks; to a new one where it has died since."""
        for last in (False, True):
            self.start()
            try:
                assert self._running is not None
                socket.send_fds(self._running.control, [b"\0"], [connection.fileno()])
                return
            except OSError:
                self.stop()
                if last:
                    raise


@dataclass(frozen=True)
class _Running:
    """A process that forks, and the socket to it."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def end(self) -> None:
        """With all of its children, which are of its process group."""
        self.control.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _launch(start: bytes) -> _Running:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.serving.worker"],
            stdin=theirs.fileno(),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
    with contextlib.suppress(OSError):  # of a process that has ended already, which the next call finds out
        messages.send(ours, start)
    return _Running(process, ours)


async def _receive(connection: socket.socket) -> bytearray:
    [size] = messages.LENGTH.unpack(await _exactly(connection, messages.LENGTH.size))
    return await _exactly(connection, size)


async def _exactly(connection: socket.socket, size: int) -> bytearray:
    loop, found = asyncio.get_running_loop(), bytearray(size)
    view, have = memoryview(found), 0
    while have < size:
        came = await loop.sock_recv_into(connection, view[have:])
        if not came:
            raise EOFError
        have += came
    return found
