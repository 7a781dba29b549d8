"""Resource usage while load runs: what Prometheus metrics say, read once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx2
from prometheus_client.parser import text_string_to_metric_families

PERIOD_SECONDS = 1.0
GAUGES: Mapping[str, str] = {
    "vllm:num_requests_running": "requests running",
    "vllm:num_requests_waiting": "requests waiting",
    "vllm:kv_cache_usage_perc": "KV cache in use (share)",
    "process_resident_memory_bytes": "memory of the server (bytes)",
    "gpu_gfx_activity": "GPU activity (percent)",
    "gpu_used_vram": "GPU memory in use (MB)",
    "gpu_package_power": "GPU power (W)",
}
"""Of vLLM, its process, and AMD's exporter. Each is summed over its series."""
CPU = "process_cpu_seconds_total"
CPU_TITLE = "processors in use"


@dataclass(frozen=True)
class Usage:
    """One resource over a scenario."""

    mean: float
    largest: float


@dataclass
class Watch:
    """Reads metrics, by `run` until it is cancelled. Endpoints without metrics are no error."""

    urls: Sequence[str]
    readings: dict[str, list[float]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    _last: tuple[float, float] | None = None
    """When the processor time was read, and how much it was."""

    async def run(self, http: httpx2.AsyncClient) -> None:
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            await self.look(http)

    async def look(self, http: httpx2.AsyncClient) -> None:
        """Read everything once."""
        values = await self._read(http)
        now, cpu = time.monotonic(), values.pop(CPU, None)
        if cpu is not None and self._last is not None:
            values[CPU_TITLE] = max(0.0, cpu - self._last[1]) / (now - self._last[0])
        self._last = None if cpu is None else (now, cpu)
        for title, value in values.items():
            self.readings.setdefault(title, []).append(value)

    async def _read(self, http: httpx2.AsyncClient) -> dict[str, float]:
        found: dict[str, float] = {}
        for url in self.urls:
            try:
                answer = await http.get(url)
                answer.raise_for_status()
                for title, value in parse_metrics(answer.text).items():
                    found[title] = found.get(title, 0.0) + value
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
                if url not in self.missing:
                    self.missing.append(url)
        return found

    def usage(self) -> dict[str, Usage]:
        return {title: Usage(sum(values) / len(values), max(values)) for title, values in self.readings.items()}


def parse_metrics(text: str) -> dict[str, float]:
    """The resources among Prometheus metrics, by title; processor time under its own name."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            title = CPU if sample.name == CPU else GAUGES.get(sample.name)
            if title:
                found[title] = found.get(title, 0.0) + sample.value
    return found
