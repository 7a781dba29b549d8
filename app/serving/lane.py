"""Who may come in: a lane bounds the bodies of its requests, one by one and all together, and the time to send one.

Pools have a lane of their own, so that their large bodies cannot keep out the hooks of tenants' kinds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request

MEBI = 1 << 20
BODY_SECONDS = 10.0


class RefusedError(Exception):
    """The request is not worked on, and nothing changes. It may come again after `retry_after` seconds, if given."""

    def __init__(self, code: int, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class OverloadError(RefusedError):
    """Nothing is wrong with the request, there are too many. Metacontroller asks again after so many seconds."""

    def __init__(self) -> None:
        super().__init__(429, "too many requests at this moment", retry_after=2)


@dataclass
class Lane:
    """Requests that share their bounds."""

    most_body: int
    """Bytes of one body."""
    most_held: int
    """Bytes of all bodies that have come and are not answered yet."""
    most_requests: int
    body_seconds: float = BODY_SECONDS
    requests: int = 0
    held: int = 0

    @contextmanager
    def entered(self, request: Request) -> Iterator[Body]:
        """The body of one request, which holds its bytes until the end of the block. Raises OverloadError."""
        if self.requests >= self.most_requests:
            raise OverloadError
        self.requests += 1
        body = Body(self, request)
        try:
            yield body
        finally:
            self.requests -= 1
            self.held -= len(body.content)


class Body:
    """The bytes of one request as far as they have come."""

    def __init__(self, lane: Lane, request: Request) -> None:
        self._lane = lane
        self._request = request
        self.content = bytearray()

    async def read(self) -> bytearray:
        """All of it. Raises RefusedError, and starlette's ClientDisconnect."""
        self._check_size(_announced(self._request))
        try:
            async with asyncio.timeout(self._lane.body_seconds):
                async for chunk in self._request.stream():
                    self._take(chunk)
        except TimeoutError:
            raise RefusedError(408, f"the body did not come within {self._lane.body_seconds:g} s") from None
        return self.content

    def _take(self, chunk: bytes) -> None:
        self._check_size(len(self.content) + len(chunk))
        if self._lane.held + len(chunk) > self._lane.most_held:
            raise OverloadError
        self._lane.held += len(chunk)
        self.content += chunk

    def _check_size(self, size: int) -> None:
        if size > self._lane.most_body:
            raise RefusedError(413, f"the body is longer than {self._lane.most_body // MEBI} MiB")


def _announced(request: Request) -> int:
    """What Content-Length says; 0 for chunks. The server has refused what is no number."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdigit() and len(length) < 20 else 0
