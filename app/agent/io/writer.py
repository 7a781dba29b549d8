"""Sends patches while the lease is held, a few at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from app.agent.io import metrics
from app.agent.io.resources import build_path
from app.agent.patch import Patch, Target
from app.agent.store import Store
from app.apiserver import JSON_PATCH
from app.apiserver.client import CONFLICT, INVALID, NOT_FOUND, ApiError, AsyncClient
from app.log import fields

log = logging.getLogger(__name__)

FAILED_TEST = (INVALID, JSON_PATCH)
"""What the API server answers when a test of a JSON patch fails."""
AT_ONCE = 8
"""Requests in flight: a fresh leader may have a thousand statuses to write."""


class Result(StrEnum):
    WRITTEN = "written"
    CONFLICT = "conflict"
    FAILED = "failed"
    FENCED = "fenced"


class Writer:
    """`held` is asked before every single write; what is under way is waited for before anybody else may lead."""

    def __init__(self, api: AsyncClient, held: Callable[[], bool], stores: Mapping[Target, Store[Any]]) -> None:
        self._api = api
        self._held = held
        self._stores = stores
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[asyncio.Task[Result]] = set()
        self._closed = False

    async def write(self, patches: Sequence[Patch]) -> list[Result]:
        """The result of each patch, in order."""
        tasks = [asyncio.create_task(self._write(patch)) for patch in patches]
        self._under_way.update(tasks)
        for task in tasks:
            task.add_done_callback(self._under_way.discard)
        return list(await asyncio.shield(asyncio.gather(*tasks)))

    async def close(self) -> None:
        """Wait for writes that were sent already; those that still queue are dropped."""
        self._closed = True
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _write(self, patch: Patch) -> Result:
        async with self._room:
            result = await self._send(patch) if self._held() and not self._closed else Result.FENCED
        metrics.WRITES.labels(patch.target.value, result.value).inc()
        return result

    async def _request(self, patch: Patch) -> Any:
        path = build_path(patch.target, patch.key)
        if patch.target is Target.EVICT:
            return await self._api.delete(path, patch.body)
        return await self._api.patch(path, patch.body, patch.content_type)

    async def _send(self, patch: Patch) -> Result:
        namespace, name = patch.key
        written = {"kind": patch.target.kind, "namespace": namespace, "name": name, "target": patch.target.value}
        try:
            answer = await self._request(patch)
        except ApiError as error:
            conflict = error.code in (CONFLICT, NOT_FOUND) or (error.code, patch.content_type) == FAILED_TEST
            level = logging.INFO if conflict else logging.WARNING
            log.log(level, "not written", extra=fields(**written, error=error))
            return Result.CONFLICT if conflict else Result.FAILED
        if patch.target is not Target.EVICT:  # the watch tells when the pod is gone
            self._stores[patch.target].learn(answer)
        if patch.target is Target.UNGATE:
            metrics.BINDINGS.inc()
        if patch.target is not Target.HEARTBEAT:
            log.info("written", extra=fields(**written, **patch.note))
        return Result.WRITTEN
