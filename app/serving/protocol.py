"""uvicorn's HTTP protocol with bounds on what a connection may cost before and after the application sees its request.

uvicorn gives up on a connection only when it idles after an answer: half a header, or an answer that nobody reads, is
kept for ever, and httptools keeps a header of any length. The application bounds bodies itself (app.serving.lane).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
"""From the connection, or from the first byte of a further request, to the end of its header."""
IDLE_SECONDS = 90.0
"""Between requests. Go's clients, as Metacontroller is one, close after as long; uvicorn's own time-out is shorter."""
LINGER_SECONDS = 2.0
"""How long the rest of a body is taken, and thrown away, that was answered before it was read."""
STALL_SECONDS = 20.0
"""An answer must be read in this time; Metacontroller waits no longer for it."""
MOST_OVERHEAD = 64 << 10
"""Bytes of a header; and of chunks' heads and trailers beyond as many as the body has."""
MOST_CONNECTIONS = 1024
"""One more takes the place of the one that has waited longest without a request."""


class _Timer:
    """Does something at the end of a time, unless it is stopped or started anew before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop, self._action = loop, action
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, self._action)

    def stop(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed when it waits, or takes, for too long."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting = _Timer(self.loop, self._give_up)
        """Until the client must have sent something."""
        self._waiting_since: float | None = None
        """None while a request is answered."""
        self._stalling = _Timer(self.loop, self._give_up)
        """Until it must have read something. Apart from the other: requests come in while an answer is not read."""
        self._overhead = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(HEADER_SECONDS)
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.stop()
        self._stalling.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MOST_OVERHEAD and not self.transport.is_closing():
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._overhead = 0
        self._wait(HEADER_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._waiting_since = None
        self._waiting.stop()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead -= 2 * len(body)  # once because it came in `data`, once to allow as much overhead
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait(IDLE_SECONDS)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._stalling.start(STALL_SECONDS)  # what is still to be read
        elif self.cycle.response_complete:  # no further request has come in meanwhile
            self._wait(LINGER_SECONDS if self.cycle.more_body else IDLE_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalling.start(STALL_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stalling.stop()

    def _wait(self, seconds: float) -> None:
        self._waiting_since = time.monotonic()  # the loop's own clock stands still while it accepts
        self._waiting.start(seconds)

    def _give_up(self) -> None:
        self.transport.abort()

    def _make_room(self) -> None:
        staying = [it for it in self.connections if isinstance(it, BoundedProtocol) and not it.transport.is_closing()]
        waiting = [(it._waiting_since, it) for it in staying if it._waiting_since is not None]
        if len(staying) > MOST_CONNECTIONS:
            _, longest = min(waiting, key=lambda it: it[0])  # this one waits, so there is one
            longest.transport.abort()
