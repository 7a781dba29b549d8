"""Requests to the API server: plain JSON in and out over the kubernetes library's asyncio client.

The library brings addresses, TLS and tokens (kubeconfig, or the service account's token and its renewal). Its models
are left out: snapshot.py reads what it needs from the JSON, and everything else is dropped with the answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient, Configuration

from app.agent.election import WRITE_TIMEOUT
from app.agent.snapshot import Json

USER_AGENT = "inference-agent"
"""Also the field manager of what is written."""
CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
SILENCE_SECONDS = 180.0
"""A watch that brings nothing for so long is dead: the API server sends a bookmark about once a minute, though none
of events."""
GONE = 410
CONFLICT = 409
NOT_FOUND = 404
UNREACHABLE = 0
OPEN = "OPEN"

JSON_TYPE = "application/json"


class ApiError(Exception):
    """No success: an HTTP status with the API's own reason, or UNREACHABLE when there was no answer."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}" if code else f"{reason}: {message}")
        self.code, self.reason = code, reason


class Api:
    """One API server, as one user."""

    def __init__(self, configuration: Configuration) -> None:
        self._client = ApiClient(configuration)
        self._client.user_agent = USER_AGENT
        self.server = str(configuration.host)

    async def close(self) -> None:
        await self._client.close()

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        accept: str = JSON_TYPE,
        seconds: float = READ_SECONDS,
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        async with self._request("GET", path, timeout, query=query, accept=accept) as response:
            return orjson.loads(await response.read())

    async def create(self, path: str, body: Json) -> Any:
        return await self._write("POST", path, body, JSON_TYPE)

    async def patch(self, path: str, body: Any, content_type: str) -> Any:
        return await self._write("PATCH", path, body, content_type)

    async def delete(self, path: str, options: Json) -> Any:
        return await self._write("DELETE", path, options, JSON_TYPE)

    async def _write(self, method: str, path: str, body: Any, content_type: str) -> Any:
        timeout = aiohttp.ClientTimeout(total=WRITE_TIMEOUT)
        async with self._request(method, path, timeout, body=body, content_type=content_type) as response:
            return orjson.loads(await response.read())

    async def watch(self, path: str, query: Mapping[str, str], accept: str) -> AsyncGenerator[Json, None]:
        """An OPEN event once the server has accepted, then its own until it ends the watch; an ERROR is raised."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        async with self._request("GET", path, timeout, query=query, accept=accept) as response:
            yield {"type": OPEN}
            while line := await response.content.readline():
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise _error(int(event["object"].get("code", 500)), event["object"])
                yield event

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        timeout: aiohttp.ClientTimeout,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            method, url, headers, body, _ = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
            async with answer.response as response:
                if response.status >= 400:
                    raise _error(response.status, _status(await response.read()))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(UNREACHABLE, type(error).__name__, str(error) or "no answer in time") from error


def _status(body: bytes) -> Json:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": body[:200].decode(errors="replace")}
    return status if isinstance(status, dict) else {}


def _error(code: int, status: Json) -> ApiError:
    return ApiError(code, str(status.get("reason", "")), str(status.get("message", "")))
