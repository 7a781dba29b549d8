"""The agent's process: stand by, lead, stand by again, until it is asked to end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.agent.io import metrics
from app.agent.io.access import check, connect
from app.agent.io.lease import LEASE, Lease, clock
from app.agent.io.server import serving
from app.agent.io.session import LeaderSession
from app.apiserver.client import AsyncClient
from app.log import fields, set_up
from app.settings import Settings

log = logging.getLogger(__name__)

STALE_SECONDS = 30.0
"""A replica that stands by looks at the lease every few seconds; one that has not for so long cannot take over."""


@dataclass(frozen=True)
class Options:
    """Where the agent runs; everything else is in Settings."""

    kubeconfig: Path | None
    namespace: str
    host: str
    port: int


def run_agent(options: Options, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError when it cannot start; any other exception is a bug: the process
    ends, and another replica takes over."""
    set_up(settings.log_level, settings.log_format)
    gc.collect()
    gc.freeze()  # the library's modules live as long as the process; the collector need not visit them again
    asyncio.run(_run(options, settings))


async def _run(options: Options, settings: Settings) -> None:
    api = connect(options.kubeconfig, os.environ)
    try:
        await check(api, options.namespace)
        await _stand_by(api, options, settings)
    finally:
        await api.close()


async def _stand_by(api: AsyncClient, options: Options, settings: Settings) -> None:
    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    agent = Agent(api, Lease(api, options.namespace, identity), settings)
    metrics.SINCE_SYNC.set_function(lambda: agent.seconds_since_sync)
    async with serving(options.host, options.port, agent.find_problem):
        campaign = asyncio.create_task(agent.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, campaign.cancel)
        log.info("standing by", extra=fields(identity=identity, kind="Lease", namespace=options.namespace, name=LEASE))
        with suppress(asyncio.CancelledError):
            await campaign


class Agent:
    """One replica."""

    def __init__(self, api: AsyncClient, lease: Lease, settings: Settings) -> None:
        self._api = api
        self._lease = lease
        self._settings = settings
        self._term: LeaderSession | None = None

    @property
    def seconds_since_sync(self) -> float:
        return self._term.seconds_since_sync if self._term else -1.0

    def find_problem(self) -> str:
        """Why this replica is not ready, "" when it is: as a leader it is in sync, else it could take over."""
        if self._term:
            return "" if self._term.current else "not every kind is listed and watched"
        reached = self._lease.reached_at and clock() - self._lease.reached_at < STALE_SECONDS
        return "" if reached else "the API server does not answer"

    async def run(self) -> None:
        """Lead whenever the lease can be had; let go of it in the end, also after a bug."""
        while True:
            await self._lease.acquire()
            self._term = LeaderSession(self._api, self._lease.held, self._settings)
            metrics.LEADER.set(1)
            log.info("leading")
            try:
                await self._lead(self._term)
            finally:
                self._term = None
                metrics.LEADER.set(0)
                log.info("leading no more")
                await self._lease.release()

    async def _lead(self, term: LeaderSession) -> None:
        """Until the lease is lost, the term fails, or this is cancelled."""
        tasks = (asyncio.create_task(self._lease.keep()), asyncio.create_task(term.run()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
