"""Keeps a store like the API server's: one list, then a watch that goes on where the last one ended."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic

from app.agent.io import metrics
from app.agent.io.backoff import pause
from app.agent.io.resources import Resource
from app.agent.snapshot import Json
from app.agent.store import F, Store
from app.apiserver.client import GONE, OPEN, ApiError, AsyncClient
from app.log import fields

log = logging.getLogger(__name__)

LASTING_SECONDS = 5.0
"""A watch that ends sooner counts as a failure, so that nothing spins."""


class Reflector(Generic[F]):
    """One kind: `store` is up to date while `current` is true."""

    def __init__(self, api: AsyncClient, resource: Resource, store: Store[F], wake: Callable[[], None]) -> None:
        self.resource = resource
        self.store = store
        self.current = False
        self._api = api
        self._wake = wake
        self._version = ""
        self._failures = 0

    async def run(self) -> None:
        """List and watch for ever. Errors of the API server end nothing; they make `current` false until it is back."""
        while True:
            begun = asyncio.get_running_loop().time()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ApiError as error:
                self._fail(error)
            if asyncio.get_running_loop().time() - begun > LASTING_SECONDS:
                self._failures = 0
            else:
                await asyncio.sleep(pause(self._failures))
                self._failures += 1

    def _fail(self, error: ApiError) -> None:
        metrics.WATCH_FAILURES.labels(self.resource.name, error.reason or str(error.code)).inc()
        if error.code == GONE:
            log.info("the past is gone, listing again", extra=fields(resource=self.resource.name))
            self._version = ""
            return
        log.warning("watch failed", extra=fields(resource=self.resource.name, error=error))
        self.current = False

    async def _list(self) -> None:
        objects: list[F] = []
        query = {"limit": str(self.resource.page), **self.resource.selectors}
        while True:
            page = await self._api.get(self.resource.path, query, accept=self.resource.list_type)
            objects += [cached for item in page["items"] or () if (cached := self.store.parse(item)) is not None]
            objects = self.store.trim(objects)
            metadata = page["metadata"]
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        self._version = metadata["resourceVersion"]
        if self.store.replace(objects):
            self._wake()
        listed = fields(resource=self.resource.name, facts=len(objects), version=self._version)
        log.info("listed", extra=listed)

    async def _watch(self) -> None:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(*self.resource.watch_seconds)),
            **self.resource.selectors,
        }
        async with aclosing(self._api.watch(self.resource.path, query, self.resource.watch_type)) as events:
            async for event in events:
                self._take(event)

    def _take(self, event: Json) -> None:
        if event["type"] == OPEN:
            self._open()
            return
        item = event["object"]
        if event["type"] != "BOOKMARK" and self.store.apply(event["type"], item):
            self._wake()
        self._version = item["metadata"]["resourceVersion"]

    def _open(self) -> None:
        if not self.current:
            self.current = True
            self._wake()
