"""Running a scenario: so many requests at a time until its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import httpx2

from perf.client import Load, Sample, ask
from perf.resources import Watch
from perf.scenarios import Scenario
from perf.statistics import Result, summarise

PAUSE_AFTER_ERROR = 0.2
"""Seconds: an endpoint that refuses at once is asked often, not in a spin."""
Progress = Callable[[float, int, int], None]
"""Told the seconds that passed, requests that succeeded, and requests that failed."""


async def run_scenario(
    url: str, load: Load, scenario: Scenario, metrics: Sequence[str], progress: Progress = lambda *_: None
) -> Result:
    """Requests under way when the time is over are waited for and count. Each client asks once at least.

    Metrics are read before the first request, so that the shortest scenario has a reading.
    """
    samples: list[Sample] = []
    watch = Watch(metrics)
    limits = httpx2.Limits(max_connections=scenario.concurrency, max_keepalive_connections=scenario.concurrency)
    async with (
        httpx2.AsyncClient(base_url=url, limits=limits, trust_env=False) as http,
        httpx2.AsyncClient(timeout=5, trust_env=False) as metrics_http,
    ):
        await watch.look(metrics_http)
        numbers, origin = itertools.count(1), time.monotonic()
        watching = asyncio.create_task(watch.run(metrics_http))
        reporting = asyncio.create_task(_report(samples, origin, progress))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(scenario.concurrency):
                    group.create_task(_ask_until(origin + scenario.seconds, http, load, numbers, origin, samples))
        finally:
            for task in (watching, reporting):
                task.cancel()
            await asyncio.gather(watching, reporting, return_exceptions=True)
    return summarise(scenario, samples, watch.usage())


async def _ask_until(
    deadline: float, http: httpx2.AsyncClient, load: Load, numbers: Iterator[int], origin: float, samples: list[Sample]
) -> None:
    while True:
        sample = await ask(http, load, next(numbers), origin)
        samples.append(sample)
        if sample.error:
            await asyncio.sleep(PAUSE_AFTER_ERROR)
        if time.monotonic() >= deadline:
            return


async def _report(samples: list[Sample], origin: float, progress: Progress) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            failed = sum(bool(sample.error) for sample in samples)
            progress(time.monotonic() - origin, len(samples) - failed, failed)
            await asyncio.sleep(0.2)
