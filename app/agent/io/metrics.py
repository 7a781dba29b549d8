"""Every Prometheus series of the agent, declared once."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LEADER = Gauge("inference_agent_leader", "1 while this replica leads, else 0.")
WRITES = Counter(
    "inference_agent_writes_total",
    "Patches sent, by target (binding, recall, gpunode, gpurequest, gpuallocation, heartbeat) and result.",
    ["target", "result"],
)
BINDINGS = Counter("inference_agent_bindings_total", "Gated pods that were given their node.")
PASS_SECONDS = Histogram(
    "inference_agent_pass_duration_seconds",
    "Time to decide what to write, without the writes.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0),
)
SINCE_SYNC = Gauge(
    "inference_agent_seconds_since_sync",
    "Seconds since everything was written that was to be; -1 before that, and while this replica does not lead.",
)
FACTS = Gauge("inference_agent_facts", "Objects that are kept in memory, by resource.", ["resource"])
WATCH_FAILURES = Counter(
    "inference_agent_watch_failures_total",
    "Lists and watches that failed, by resource and reason.",
    ["resource", "reason"],
)
EXPORTER_LOOKUPS = Counter(
    "inference_agent_exporter_lookups_total",
    "Questions to AMD's device-metrics-exporter about the devices of a node's pods, by result (told, incomplete).",
    ["result"],
)
