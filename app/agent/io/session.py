"""One term of leadership: watch everything, and write whatever it needs until the lease is lost.

A term begins with empty stores and ends with them, so nothing of an earlier one can mislead it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from app.agent import heartbeat
from app.agent.devices import plan_devices
from app.agent.evict_misplaced import plan_evictions
from app.agent.gpu_usage import plan_nodes
from app.agent.io import metrics, resources
from app.agent.io.backoff import pause
from app.agent.io.downloads import Downloads, Events
from app.agent.io.exporters import Exporters
from app.agent.io.reflector import Reflector
from app.agent.io.writer import Result, Writer
from app.agent.patch import Patch, Target
from app.agent.request_status import plan_requests
from app.agent.snapshot import (
    Allocation,
    Exporter,
    GPUNode,
    Pod,
    Pool,
    Request,
    Snapshot,
    parse_allocation,
    parse_exporter,
    parse_gpu_node,
    parse_node,
    parse_pod,
    parse_pool,
    parse_request,
)
from app.agent.store import Store
from app.agent.ungate import plan_ungates
from app.apiserver.client import AsyncClient
from app.settings import Settings

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2
"""Changes come in bursts: a group's pods, a rollout. One pass then answers them all."""


class LeaderSession:
    """`held` says whether this replica may write."""

    def __init__(self, api: AsyncClient, held: Callable[[], bool], settings: Settings) -> None:
        self._changed = asyncio.Event()
        pods: Store[Pod] = Store(partial(parse_pod, gpu_resource=settings.gpu_resource))
        gpu_nodes: Store[GPUNode] = Store(parse_gpu_node)
        requests: Store[Request] = Store(parse_request)
        allocations: Store[Allocation] = Store(parse_allocation)
        pools: Store[Pool] = Store(parse_pool)
        wake = self._changed.set
        self._pods = Reflector(api, resources.PODS, pods, wake)
        self._nodes = Reflector(api, resources.NODES, Store(parse_node), wake)
        self._gpu_nodes = Reflector(api, resources.GPU_NODES, gpu_nodes, wake)
        self._requests = Reflector(api, resources.GPU_REQUESTS, requests, wake)
        self._allocations = Reflector(api, resources.GPU_ALLOCATIONS, allocations, wake)
        self._pools = Reflector(api, resources.GPU_POOLS, pools, wake)
        self._events = Events(api, wake)
        self._downloads = Downloads(api, wake)
        self._writer = Writer(
            api,
            held,
            {
                Target.UNGATE: pods,
                Target.GPU_NODE: gpu_nodes,
                Target.GPU_REQUEST: requests,
                Target.GPU_ALLOCATION: allocations,
                Target.JOB: self._downloads.jobs.store,
                Target.HEARTBEAT: pools,
            },
        )
        self._exporters = Exporters(settings.exporter_port, wake)
        self._exporter_pods: Reflector[Exporter] | None = None
        if found := resources.find_exporters(settings):
            self._exporter_pods = Reflector(api, found, Store(parse_exporter), lambda: None)
        self._failures = 0
        self._synced_at: float | None = None

    @property
    def _reflectors(self) -> Sequence[Reflector[Any]]:
        return (self._pods, self._nodes, self._gpu_nodes, self._requests, self._allocations, self._pools)

    @property
    def current(self) -> bool:
        """Whether every store is as the API server is."""
        return all(reflector.current for reflector in self._reflectors)

    @property
    def seconds_since_sync(self) -> float:
        return -1.0 if self._synced_at is None else time.monotonic() - self._synced_at

    async def run(self) -> None:
        """Until cancelled; writes that are under way then are waited for."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for reflector in self._reflectors:
                    tasks.create_task(reflector.run())
                for reflector in (*self._events.reflectors, *self._downloads.reflectors):
                    tasks.create_task(reflector.run())
                tasks.create_task(self._work())
                if self._exporter_pods:
                    tasks.create_task(self._exporter_pods.run())
                    tasks.create_task(self._exporters.run(self._look))
        finally:
            await self._writer.close()

    async def _work(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._idle_seconds())
            await asyncio.sleep(SETTLE_SECONDS)
            self._changed.clear()
            if self.current:
                await self._pass()

    def _look(self) -> tuple[Snapshot, Iterable[Exporter]] | None:
        """Exporters are no part of it: nothing that must be written waits for them."""
        if not self.current or self._exporter_pods is None:
            return None
        return self._snapshot(), self._exporter_pods.store.objects.values()

    def _idle_seconds(self) -> float:
        """How long nothing needs to be done if nothing changes."""
        now = datetime.now(UTC)
        beats = (
            [heartbeat.seconds_left(pool, now) for pool in self._pools.store.objects.values()] if self.current else []
        )
        retry = [pause(self._failures)] if self._failures else []
        return max(0.0, min([heartbeat.PERIOD.total_seconds(), *beats, *retry]))

    async def _pass(self) -> None:
        """Write what differs, then the heartbeats that vouch for it."""
        begun = time.perf_counter()
        patches = decide(self._snapshot())
        metrics.PASS_SECONDS.observe(time.perf_counter() - begun)
        results = await self._writer.write(patches)
        if _is_ledger_true(patches, results):
            beats = heartbeat.plan_heartbeats(self._snapshot(), datetime.now(UTC))
            results += await self._writer.write(beats)
        await self._writer.write(self._downloads.plan(self._events.look()))
        if Result.WRITTEN in results:
            self._changed.set()  # an answer may hold more than was written: look once more
        if all(result is Result.WRITTEN for result in results):
            self._failures, self._synced_at = 0, time.monotonic()
        else:
            self._failures += 1

    def _snapshot(self) -> Snapshot:
        for reflector in self._reflectors:
            metrics.FACTS.labels(reflector.resource.name).set(len(reflector.store.objects))
        return Snapshot(
            pods=self._pods.store.objects,
            nodes=self._nodes.store.objects,
            gpu_nodes=self._gpu_nodes.store.objects,
            requests=self._requests.store.objects,
            allocations=self._allocations.store.objects,
            pools=self._pools.store.objects,
            devices=self._exporters.devices,
            warned=self._events.look(),
        )


def decide(snapshot: Snapshot) -> list[Patch]:
    """All patches but heartbeats, which vouch for these and so come after them. Pods behind the gate come first: they
    wait for nothing else."""
    plans = (plan_ungates, plan_evictions, plan_nodes, plan_requests, plan_devices)
    return [patch for plan in plans for patch in plan(snapshot)]


def _is_ledger_true(patches: Sequence[Patch], results: Sequence[Result]) -> bool:
    """A heartbeat tells the pools that use is known on every node, so it waits while one could not be written."""
    return all(
        result is Result.WRITTEN
        for patch, result in zip(patches, results, strict=True)
        if patch.target is Target.GPU_NODE
    )
