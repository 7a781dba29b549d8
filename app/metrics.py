"""Every Prometheus series of the hook service, declared once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

HOOK_REQUESTS = Counter(
    "inference_operator_hook_requests_total",
    "Hook calls by Metacontroller, by hook (sync, customize, finalize), kind and HTTP status code.",
    ["hook", "kind", "code"],
)
HOOK_SECONDS = Histogram(
    "inference_operator_hook_duration_seconds",
    "Time to answer a hook call, without the network.",
    ["hook", "kind"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0),
)
DECISIONS = Counter(
    "inference_operator_syncs_total",
    "Syncs by kind and the phase that was answered.",
    ["kind", "phase"],
)
STRAY_ANSWERS = Counter(
    "inference_operator_stray_answers_total",
    "Answers that were not sent because they would act where they must not, by kind of the object and reason "
    "(namespace, kind, privilege). Each is a bug: report it.",
    ["kind", "reason"],
)
ENDED = Counter(
    "inference_operator_hook_ended_total",
    "Hooks that were ended because they took too long or too much memory, by kind.",
    ["kind"],
)


class LimitUse(NamedTuple):
    """One limit of a GPUPool, as the pool's status tells it."""

    limit: int
    gpus: int
    used: int
    waiting: int


class PoolLimits(Collector):
    """Limits of the GPUPools that this process answered lately. What another replica answers from now on is forgotten
    here after KEPT_SECONDS, and pools and their limits are so few that their labels are bounded."""

    KEPT_SECONDS = 900.0
    """Three resyncs of a pool."""
    MOST_POOLS = 64

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, tuple[LimitUse, ...]]] = {}

    def record(self, pool: str, uses: Sequence[LimitUse]) -> None:
        """In place of what was told of this pool before."""
        kept = {name: told for name, told in self._current().items() if name != pool}
        if uses and len(kept) < self.MOST_POOLS:
            kept[pool] = (self._clock(), tuple(uses))
        self._told = kept  # another thread reads it

    def _current(self) -> dict[str, tuple[float, tuple[LimitUse, ...]]]:
        oldest = self._clock() - self.KEPT_SECONDS
        return {name: told for name, told in self._told.items() if told[0] >= oldest}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ["pool", "limit"]
        gpus = GaugeMetricFamily(
            "inference_operator_pool_limit_gpus",
            "GPUs that each namespace may hold, by GPUPool and place in its spec.limits.",
            labels=labels,
        )
        used = GaugeMetricFamily(
            "inference_operator_pool_limit_used_gpus",
            "GPUs of the namespace that holds most of those that the limit is for.",
            labels=labels,
        )
        waiting = GaugeMetricFamily(
            "inference_operator_pool_limit_waiting_services",
            "Services that wait because their namespace holds as many GPUs as the limit allows.",
            labels=labels,
        )
        for pool, (_, uses) in sorted(self._current().items()):
            for use in uses:
                values = [pool, str(use.limit)]
                gpus.add_metric(values, use.gpus)
                used.add_metric(values, use.used)
                waiting.add_metric(values, use.waiting)
        yield from (gpus, used, waiting)


POOL_LIMITS = PoolLimits()
REGISTRY.register(POOL_LIMITS)

PHASES = frozenset({"Pending", "Starting", "Downloading", "Ready", "Degraded", "Failed"})
"""The phases of all kinds; a test compares them with what the hooks answer."""


def phase_label(phase: str) -> str:
    """A phase that this version knows, "-" for none, "other" for what a stored status may say instead.

    A label's values are kept for ever, so they come from a fixed set.
    """
    return phase if phase in PHASES else "other" if phase else "-"
