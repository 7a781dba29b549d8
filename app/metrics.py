"""Every Prometheus series of the hook service, declared once."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

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

PHASES = frozenset({"Pending", "Starting", "Downloading", "Ready", "Degraded", "Failed"})
"""The phases of all kinds; a test compares them with what the hooks answer."""


def phase_label(phase: str) -> str:
    """A phase that this version knows, "-" for none, "other" for what a stored status may say instead.

    A label's values are kept for ever, so they come from a fixed set.
    """
    return phase if phase in PHASES else "other" if phase else "-"
