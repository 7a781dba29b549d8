"""Asks exporters which devices the pods on their nodes hold. Nothing waits for the answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import httpx2

from app.agent.devices import find_unknown, parse_samples
from app.agent.io import metrics
from app.agent.io.answer import open_session, read_samples
from app.agent.io.backoff import doubled, jittered
from app.agent.snapshot import Device, Exporter, Pod, Snapshot
from app.log import fields

log = logging.getLogger(__name__)

PERIOD_SECONDS = 10.0
MOST_SECONDS = 300.0
"""Pauses double up to this for a node whose exporter does not tell."""
AT_ONCE = 4
"""Exporters that are asked at the same time, their answers parsed."""
MOST_PER_NODE = 3
"""Exporters of one node that are asked in one round."""


@dataclass(frozen=True)
class Wait:
    """When a node may be asked again about the same pods."""

    pods: frozenset[str]
    """Their uids."""
    failures: int
    until: float
    """In seconds of the clock."""


class Exporters:
    """What exporters have told, by uid of the pod. `wake` is called when there is more."""

    def __init__(self, port: int, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.devices: Mapping[str, Sequence[Device]] = {}
        self._port = port
        self._wake = wake
        self._clock = clock
        self._waits: dict[str, Wait] = {}

    async def run(self, look: Callable[[], tuple[Snapshot, Iterable[Exporter]] | None]) -> None:
        """Until cancelled. `look` answers None while not everything is known."""
        async with open_session() as session:
            while True:
                await asyncio.sleep(jittered(PERIOD_SECONDS))
                if seen := look():
                    await self.ask(session, *seen)

    async def ask(self, session: httpx2.AsyncClient, snapshot: Snapshot, exporters: Iterable[Exporter]) -> None:
        """One round: every node that has pods nobody told of, and is due."""
        present = {pod.uid for pod in snapshot.pods.values()}
        self.devices = {uid: devices for uid, devices in self.devices.items() if uid in present}
        addresses = _by_node(exporters)
        unknown = {node: pods for node, pods in find_unknown(snapshot).items() if node in addresses}
        self._waits = {node: wait for node, wait in self._waits.items() if node in unknown}
        room = asyncio.Semaphore(AT_ONCE)
        due = [node for node, pods in unknown.items() if self._is_due(node, pods)]
        await asyncio.gather(*(self._ask_node(session, room, node, addresses[node], unknown[node]) for node in due))

    def _is_due(self, node: str, pods: Iterable[Pod]) -> bool:
        wait = self._waits.get(node)
        return wait is None or wait.pods != _uids(pods) or self._clock() >= wait.until

    async def _ask_node(
        self,
        session: httpx2.AsyncClient,
        room: asyncio.Semaphore,
        node: str,
        addresses: Sequence[str],
        pods: Sequence[Pod],
    ) -> None:
        """Take what the first exporter says that names the devices of all pods, else what the last one said. No node
        waits for the answer of another."""
        told: Mapping[str, Sequence[Device]] = {}
        problem = ""
        for address in addresses[:MOST_PER_NODE]:
            url = httpx2.URL(scheme="http", host=address, port=self._port, path="/metrics")
            try:
                async with room:
                    text = await read_samples(session, url, pods)
                    told = await asyncio.to_thread(parse_samples, text, pods)  # the lease is renewed meanwhile
                problem = "" if len(told) == len(pods) else f"{url} does not name the devices of every pod there"
            except (httpx2.HTTPError, TimeoutError, OSError, ValueError) as error:
                problem = f"{url}: {error or 'no answer in time'}"
            if not problem:
                break
        metrics.EXPORTER_LOOKUPS.labels("incomplete" if problem else "told").inc()
        self._note(node, pods, problem)
        if told:
            self.devices = {**self.devices, **told}
            self._wake()

    def _note(self, node: str, pods: Sequence[Pod], problem: str) -> None:
        """The first failure about the same pods is in the log; a pod that has just started may be told of later."""
        if not problem:
            self._waits.pop(node, None)
            return
        uids, before = _uids(pods), self._waits.get(node)
        failures = before.failures + 1 if before and before.pods == uids else 0
        until = self._clock() + doubled(failures, PERIOD_SECONDS, MOST_SECONDS)
        self._waits[node] = Wait(uids, failures, until)
        if failures == 1:
            log.info("devices are not told", extra=fields(node=node, reason=problem))


def _by_node(exporters: Iterable[Exporter]) -> dict[str, list[str]]:
    """Addresses, in the order of the pods' names: there may be others that carry the same label."""
    found: dict[str, list[str]] = {}
    for exporter in sorted(exporters, key=lambda it: it.key):
        if exporter.address:
            found.setdefault(exporter.node, []).append(exporter.address)
    return found


def _uids(pods: Iterable[Pod]) -> frozenset[str]:
    return frozenset(pod.uid for pod in pods)
