"""docs/hooks.md against the code: the limits, the flags, the metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import metrics
from app.__main__ import build_parser
from app.api.v1alpha1.inferenceservice import ENGINE_ARGS
from app.serving import backoff, edge, lane, probes, protocol, reading, server, workers
from app.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/hooks.md").read_text()
EDGE = edge.Edge(Settings(), workers.Workers(Settings()))


def mebi(size: int) -> str:
    return f"{size // lane.MEBI} MiB"


LIMITS = {
    "Body of a GPUPool's sync or finalize": mebi(EDGE.pools.most_body),
    "Body of any other call": mebi(EDGE.others.most_body),
    "Bodies in flight": f"{mebi(EDGE.pools.most_held)} of pools, {mebi(EDGE.others.most_held)} of all others",
    "Calls in flight": f"{EDGE.pools.most_requests} of pools, {EDGE.others.most_requests} of all others",
    "Time for a header": f"{protocol.HEADER_SECONDS:g} s",
    "Time for a body": f"{lane.BODY_SECONDS:g} s",
    "Time to read an answer": f"{protocol.STALL_SECONDS:g} s",
    "Header, and framing of chunks": f"{protocol.MOST_OVERHEAD >> 10} KiB",
    "Connections": str(protocol.MOST_CONNECTIONS),
    "JSON values of an object and its children": f"{reading.OWN_VALUES:,}",
    "JSON values of a related object": f"{reading.RELATED_VALUES:,}",
    "Processor time of a hook": f"{edge.INLINE_SECONDS:g} s",
    "Time of a GPUPool's sync": f"{workers.SECONDS:g} s",
    "Memory of a GPUPool's sync": f"{mebi(workers.MEMORY_BASE)}, and {workers.MEMORY_PER_BYTE} times its body",
}


def test_the_table_of_limits_is_that_of_the_code() -> None:
    table = PAGE[PAGE.index("## Limits") : PAGE.index("- **429**")]
    found = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", table, re.MULTILINE))
    assert {what: found[what] for what in found if what not in ("What", "---")} == LIMITS


@pytest.mark.parametrize(
    "words",
    [
        f"not tried for {backoff.LEAST_SECONDS:g} s, then {2 * backoff.LEAST_SECONDS:g} s",
        f"up to {backoff.MOST_SECONDS:g} s; meanwhile",
        f"event loop has not turned for {probes.STUCK_SECONDS:g} s",
        f"beyond {ENGINE_ARGS.values:,} values or {ENGINE_ARGS.depth} levels",
        f"1.5 MiB and {reading.LEVELS:,} levels",
        f"more than {reading.MARKS:,} labels or annotations",
        "two at the same time" if workers.SLOTS == 2 else "?",
    ],
)
def test_the_text_names_the_codes_figures(words: str) -> None:
    assert words in " ".join(PAGE.split())


def test_every_flag_of_serve_is_explained() -> None:
    [commands] = [it for it in build_parser()._actions if it.choices]
    assert isinstance(commands.choices, dict)
    flags = {flag for action in commands.choices["serve"]._actions for flag in action.option_strings} - {"-h", "--help"}
    assert flags == set(re.findall(r"^\| `(--[a-z-]+)`", PAGE, re.MULTILINE))


def test_every_series_is_explained() -> None:
    declared = {
        f"{it._name}_total" if it._type == "counter" else it._name
        for it in vars(metrics).values()
        if hasattr(it, "_labelnames")
    } | {it.name for it in metrics.POOL_LIMITS.collect()}
    assert declared == set(re.findall(r"^\| `(inference_operator_\w+)`", PAGE, re.MULTILINE))


def test_requests_end_before_their_pod_is_killed() -> None:
    grace, sleep = 30, 5  # Kubernetes' default; deploy/base/hooks.yaml sleeps before it
    assert workers.SECONDS < server.SHUTDOWN_SECONDS < grace - sleep
