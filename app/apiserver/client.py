"""Requests to the API server over httpx2, waited for (Client) or awaited (AsyncClient).

An answer of 429 or 503 with Retry-After is the API server's wish to be asked later; reads obey as long as their time
lasts. Writes are never repeated: whoever sends one decides whether it still holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import httpx2
import orjson

from app.apiserver import JSON_TYPE, MERGE
from app.apiserver.access import Access

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
SILENCE_SECONDS = 180.0
"""A watch that brings nothing for so long is dead: the API server sends a bookmark about once a minute, though none
of events."""
IDLE_SECONDS = 30.0
"""How long a connection is kept for the next request."""

UNREACHABLE = 0
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, GONE, INVALID = 401, 403, 404, 409, 410, 422
_LATER = frozenset({429, 503})
OPEN = "OPEN"

Json = Mapping[str, Any]


class ApiError(Exception):
    """No success: an HTTP status with the API's own reason and message, or UNREACHABLE when there was no answer."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}" if code else f"{reason}: {message}")
        self.code, self.reason, self.message = code, reason, message


class _Requests:
    """What both clients build and read."""

    def __init__(self, access: Access, user_agent: str) -> None:
        self.server = access.server
        self._access = access
        self._options: dict[str, Any] = {
            "verify": access.trust,
            "headers": {"User-Agent": user_agent},
            "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=IDLE_SECONDS),
            "trust_env": access.uses_environment,
            "proxy": access.proxy,
        }

    def _build(
        self,
        authorization: str,
        *,
        accept: str,
        content_type: str = JSON_TYPE,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        timeout: httpx2.Timeout,
    ) -> dict[str, Any]:
        headers = {"Accept": accept} | ({"Authorization": authorization} if authorization else {})
        if body is not None:
            headers["Content-Type"] = content_type
        return {
            "params": query or None,
            "headers": headers,
            "content": None if body is None else orjson.dumps(body),
            "timeout": timeout,
            "extensions": {"sni_hostname": self._access.tls_server_name} if self._access.tls_server_name else None,
        }


class Client(_Requests):
    """One API server, as one user. Safe to use from several threads."""

    def __init__(self, access: Access, user_agent: str, seconds: float = READ_SECONDS) -> None:
        super().__init__(access, user_agent)
        self._seconds = seconds
        self._http = httpx2.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        accept: str = JSON_TYPE,
        content_type: str = JSON_TYPE,
    ) -> Any:
        """The JSON of a successful answer. Raises ApiError."""
        until = time.monotonic() + self._seconds
        timeout = httpx2.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds))
        while True:
            with _reaching():
                options = self._build(
                    self._access.authorize(),
                    accept=accept,
                    content_type=content_type,
                    query=query,
                    body=body,
                    timeout=timeout,
                )
                response = self._http.request(method, self.server + path, **options)
                if response.is_success:
                    return orjson.loads(response.content)
            pause = _pause(method, response)
            if pause is None or time.monotonic() + pause > until:
                raise _refusal(response)
            time.sleep(pause)

    def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = JSON_TYPE) -> Any:
        return self.request("GET", path, query=query, accept=accept)

    def pages(self, path: str, limit: int, accept: str = JSON_TYPE) -> Iterator[Any]:
        """A list, some objects at a time."""
        query = {"limit": str(limit)}
        while True:
            page = self.get(path, query, accept)
            yield page
            metadata = page.get("metadata") if isinstance(page, Mapping) else None
            if not isinstance(metadata, Mapping) or not metadata.get("continue"):
                return
            query["continue"] = str(metadata["continue"])

    def patch(self, path: str, body: Any, content_type: str = MERGE) -> Any:
        return self.request("PATCH", path, body=body, content_type=content_type)


class AsyncClient(_Requests):
    """One API server, as one user, in one event loop."""

    def __init__(self, access: Access, user_agent: str, write_seconds: float = READ_SECONDS) -> None:
        """`write_seconds`: after so long a write has arrived, or never will."""
        super().__init__(access, user_agent)
        self._write_seconds = write_seconds
        self._http = httpx2.AsyncClient(**self._options)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        accept: str = JSON_TYPE,
        seconds: float = READ_SECONDS,
    ) -> Any:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            response = await self._whole("GET", path, until - loop.time(), query=query, accept=accept)
            if response.is_success:
                with _reaching():
                    return orjson.loads(response.content)
            pause = _pause("GET", response)
            if pause is None or loop.time() + pause > until:
                raise _refusal(response)
            await asyncio.sleep(pause)

    async def create(self, path: str, body: Json) -> Any:
        return await self._write("POST", path, body, JSON_TYPE)

    async def patch(self, path: str, body: Any, content_type: str) -> Any:
        return await self._write("PATCH", path, body, content_type)

    async def delete(self, path: str, options: Json) -> Any:
        return await self._write("DELETE", path, options, JSON_TYPE)

    async def _write(self, method: str, path: str, body: Any, content_type: str) -> Any:
        response = await self._whole(
            method, path, self._write_seconds, accept=JSON_TYPE, body=body, content_type=content_type
        )
        if not response.is_success:
            raise _refusal(response)
        with _reaching():
            return orjson.loads(response.content)

    async def _whole(self, method: str, path: str, seconds: float, **options: Any) -> httpx2.Response:
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        with _reaching():
            async with asyncio.timeout(max(0.0, seconds)):
                built = self._build(await self._authorization(), timeout=timeout, **options)
                return await self._http.request(method, self.server + path, **built)

    async def watch(self, path: str, query: Mapping[str, str], accept: str) -> AsyncGenerator[Json, None]:
        """An OPEN event once the server has accepted, then its own until it ends the watch; an ERROR is raised."""
        async with self._opened(path, query, accept) as response:
            yield {"type": OPEN}
            async for line in _lines(response):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise _error(int(event["object"].get("code", 500)), event["object"])
                yield event

    @asynccontextmanager
    async def _opened(self, path: str, query: Mapping[str, str], accept: str) -> AsyncIterator[httpx2.Response]:
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        with _reaching():
            built = self._build(await self._authorization(), timeout=timeout, query=query, accept=accept)
            async with self._http.stream("GET", self.server + path, **built) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response)
                yield response

    async def _authorization(self) -> str:
        return await asyncio.to_thread(self._access.authorize) if self._access.blocks else self._access.authorize()


async def _lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Of whatever length, as they come; what the server broke off is left out."""
    begun: list[bytes] = []
    async for chunk in response.aiter_bytes():
        first, *more = chunk.split(b"\n")
        begun.append(first)
        for rest in more:
            yield b"".join(begun)
            begun = [rest]


@contextmanager
def _reaching() -> Iterator[None]:
    """Whatever keeps an answer from being had, as an ApiError."""
    try:
        yield
    except (httpx2.HTTPError, httpx2.StreamError, TimeoutError, OSError, ValueError) as error:
        raise ApiError(UNREACHABLE, type(error).__name__, _said(error)) from error


def _said(error: BaseException) -> str:
    """httpx2 wraps what the system said of a connection, sometimes in a sentence that says nothing."""
    while (inner := error.__cause__ or error.__context__) is not None and not isinstance(inner, ExceptionGroup):
        error = inner if str(inner) else error
        if not str(inner):
            break
    return str(error) or "no answer in time"


def _pause(method: str, response: httpx2.Response) -> float | None:
    """Seconds after which a read is to be sent again, None when it is not."""
    said = response.headers.get("Retry-After", "")
    return float(said) if method == "GET" and response.status_code in _LATER and said.isdecimal() else None


def _refusal(response: httpx2.Response) -> ApiError:
    try:
        status = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        status = {"message": response.content[:200].decode(errors="replace")}
    return _error(response.status_code, status if isinstance(status, Mapping) else {})


def _error(code: int, status: Json) -> ApiError:
    return ApiError(code, str(status.get("reason", "")), str(status.get("message", "")))
