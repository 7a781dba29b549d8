"""The Lease at the API server: take it, keep it, let go of it. What may be done when is decided in election.py."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from app.agent.election import (
    RETRY_PERIOD,
    WRITE_TIMEOUT,
    Candidate,
    Record,
    build_lease,
    build_release,
    may_take,
    may_write,
    parse_record,
    with_seen,
    with_written,
)
from app.agent.io.backoff import jittered
from app.agent.io.resources import lease_path
from app.apiserver import MERGE
from app.apiserver.client import CONFLICT, NOT_FOUND, ApiError, AsyncClient
from app.log import fields

log = logging.getLogger(__name__)

LEASE = "inference-agent"


def clock() -> float:
    """Seconds that also pass while the machine is suspended: others may take the lease meanwhile."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """One candidate for the Lease of a namespace."""

    def __init__(self, api: AsyncClient, namespace: str, identity: str) -> None:
        self._api = api
        self._namespace = namespace
        self._candidate = Candidate(identity)
        self.reached_at = 0.0
        """When the API server last answered, by clock(); 0 = never."""

    def held(self) -> bool:
        """Whether a write may be sent now."""
        return may_write(self._candidate, clock())

    async def acquire(self) -> None:
        """Return once this candidate leads."""
        while not await self._attempt(look_first=True):
            await asyncio.sleep(jittered(RETRY_PERIOD))

    async def keep(self) -> None:
        """Renew until the lease is lost, then return; never later than the renew deadline."""
        while self.held():
            await asyncio.sleep(RETRY_PERIOD)
            if not await self._attempt(look_first=False) and self.held():
                await self._attempt(look_first=True)

    async def release(self) -> None:
        """Let the next candidate lead at once; without effect when the lease is not ours any more."""
        if not self.held():
            return
        seen, self._candidate = self._candidate.seen, Candidate(self._candidate.identity)
        try:
            await self._let_go(seen)
            log.info("released the lease")
        except ApiError as error:
            log.warning("the lease runs out by itself", extra=fields(error=error))

    async def _let_go(self, seen: Record | None) -> None:
        """A renewal that was under way when the term ended may have arrived; the record is then another, and ours."""
        try:
            await self._write(seen, build_release(datetime.now(UTC)))
        except ApiError as error:
            if error.code != CONFLICT:
                raise
            found = await self._read()
            if found is None or found.holder != self._candidate.identity:
                raise
            await self._write(found, build_release(datetime.now(UTC)))

    async def _attempt(self, look_first: bool) -> bool:
        """Look at the Lease, unless it is known, and write it if that may be done. True: this candidate leads."""
        try:
            if look_first:
                self._see(await self._read())
            if not may_take(self._candidate, clock()):
                return False
            begun = clock()
            lease = await self._write(self._candidate.seen, build_lease(self._candidate, datetime.now(UTC)))
        except ApiError as error:
            level = logging.DEBUG if error.code == CONFLICT else logging.WARNING
            log.log(level, "the lease was not renewed", extra=fields(error=error))
            return False
        self._candidate = with_written(self._candidate, lease, begun)
        return self.held()

    def _see(self, record: Record | None) -> None:
        self.reached_at = clock()
        self._candidate = with_seen(self._candidate, record, self.reached_at)

    async def _read(self) -> Record | None:
        try:
            return parse_record(await self._api.get(lease_path(self._namespace, LEASE), seconds=WRITE_TIMEOUT))
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    async def _write(self, seen: Record | None, spec: dict[str, object]) -> Record:
        """Only over the record that was seen: another candidate's write in between is a conflict."""
        if seen is None:
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}, "spec": spec}
            return parse_record(await self._api.create(lease_path(self._namespace), body))
        body = {"metadata": {"resourceVersion": seen.version}, "spec": spec}
        return parse_record(await self._api.patch(lease_path(self._namespace, LEASE), body, MERGE))
