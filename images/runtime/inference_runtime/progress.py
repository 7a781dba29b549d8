"""engine_progress: do vLLM's engines still end their steps while requests are unanswered?

When a GPU, a collective or a process of the group hangs, /health goes on to answer 200, but /metrics stands still. vLLM
sends an engine's statistics after each step, also after one that gave no token (a part of a long prompt moves
kv_cache_usage_perc), and after requests were aborted. So an engine hangs when none of its series has changed for a time
in which no step may last, and

    requests run on it      num_requests_running; those that only wait are no sign, for they may wait for a KV cache
                            that another pod sends
    or nothing is answered  an engine that hangs in its first step after a rest never says that requests run. Where a
                            client's connection stays open all the while, one token is asked for (trial.py), which an
                            engine that rests answers at once

That time is half of VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS, after which vLLM itself gives up a step, where its worker is a
process of its own. Where it is not (one GPU an engine), or where the engine itself stands still on another pod, vLLM
waits for ever; so after twice that limit health-check stops vLLM.

Each probe is a process, so what was seen last is kept in a file. Only time between looks that follow one another
counts, by the monotonic clock: neither a pod that was frozen nor a clock that was set looks like a hang.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.contracts.runtime import STALL_SECONDS

Env = Mapping[str, str]
STATE = Path("/tmp/.engine-progress")
STEP_VARIABLE = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"
STEP_SECONDS = 300
"""vLLM's own default: how long a step may last."""
LONGEST_GAP_SECONDS = 30
"""More than that between two looks is time in which nobody looked: three probes."""

_SERIES = re.compile(r'^vllm:(\w+)\{(?:.*,)?engine="([^"]*)".*\} ([-+]?[\d.]+(?:e[-+]?\d+)?|[-+]?Inf|NaN)$', re.M)
_RUNNING = "num_requests_running"
_SLEEP = "engine_sleep_state"
"""Set by the API server alone."""


@dataclass(frozen=True)
class Engine:
    """What /metrics says of one engine."""

    running: int
    """Requests in the batch."""
    digest: str
    """Of all its series and their values."""
    asleep: bool = False
    """It answers nothing, and nothing is wrong."""


@dataclass(frozen=True)
class Seen:
    """An engine as it was at the last look."""

    running: int
    digest: str
    still: float = 0
    """Seconds for which requests have run and nothing has changed."""


@dataclass(frozen=True)
class Look:
    """What was seen last; times in seconds."""

    at: float
    """By the monotonic clock."""
    engines: Mapping[str, Seen]
    clients: frozenset[str] = frozenset()
    """Connections to the API, by the far end."""
    unanswered: float = 0
    """For how long connections have stayed, and nothing has changed on any engine."""
    trial: str = ""
    """The process that asks for a token, "" when none does."""
    tried: float = 0
    """For how long it has asked."""


@dataclass(frozen=True)
class Limits:
    """Seconds without a step."""

    alarm: float
    end: float


def parse_limits(env: Env) -> Limits:
    step = _number(env.get(STEP_VARIABLE)) or STEP_SECONDS
    return Limits(alarm=_number(env.get(STALL_SECONDS)) or step / 2, end=2 * step)


def _number(given: str | None) -> int:
    return int(given) if given and given.isdecimal() else 0


def parse_engines(metrics: str) -> dict[str, Engine]:
    """The engines by their label; {} where nothing is told of any: no statistics, an older vLLM, another server."""
    lines: dict[str, list[str]] = {}
    running: dict[str, int] = {}
    asleep: set[str] = set()
    for found in _SERIES.finditer(metrics):
        name, engine, value = found.groups()
        if name == _SLEEP:
            if 'sleep_state="awake"' in found[0] and float(value) == 0:
                asleep.add(engine)
            continue
        if name == _RUNNING:
            running[engine] = round(float(value)) if math.isfinite(float(value)) else 0
        lines.setdefault(engine, []).append(found[0])
    return {name: Engine(count, _digest(lines[name]), name in asleep) for name, count in running.items()}


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def advance(
    before: Look | None, engines: Mapping[str, Engine], clients: frozenset[str], trial: str, now: float
) -> Look:
    """What is known after this look. `trial` is the one of before, "" when it has ended."""
    fresh = Look(now, {name: Seen(it.running, it.digest) for name, it in engines.items()}, clients)
    if before is None or before.at > now:
        return fresh
    passed = min(now - before.at, LONGEST_GAP_SECONDS)
    seen = {name: _next(before.engines.get(name), engine, passed) for name, engine in engines.items()}
    look = replace(fresh, engines=seen)
    unchanged = {name: it.digest for name, it in engines.items()} == {n: it.digest for n, it in before.engines.items()}
    waits = bool(trial or (clients & before.clients and not before.trial))
    if not (unchanged and waits) or any(engine.asleep for engine in engines.values()):
        return look
    tried = before.tried + passed if trial else 0
    return replace(look, unanswered=before.unanswered + passed, trial=trial, tried=tried)


def _next(before: Seen | None, engine: Engine, passed: float) -> Seen:
    same = before and engine.running > 0 and not engine.asleep and before.digest == engine.digest
    return Seen(engine.running, engine.digest, before.still + passed if before and same else 0)


def wants_trial(look: Look, alarm: float) -> bool:
    """Whether it is time to ask. Where requests run that is not needed, and would only add to them."""
    running = any(seen.running for seen in look.engines.values())
    return look.unanswered >= alarm / 2 and not look.trial and not running


def find_stall(look: Look, alarm: float) -> str:
    """Which engine makes no step, "" when all do. The words do not change while it lasts: the kubelet counts equal
    events, and drops new ones that come often."""
    name, worst = max(look.engines.items(), key=lambda it: it[1].still)
    if worst.still >= alarm:
        where = f"engine {name}: " if len(look.engines) > 1 else ""
        requests = "1 request runs" if worst.running == 1 else f"{worst.running} requests run"
        return f"{where}{requests}, and no step has ended for {alarm:g} s"
    if look.unanswered >= alarm and look.tried >= alarm / 2:
        return f"requests are not answered, and no step has ended for {alarm:g} s"
    return ""


def load() -> Look | None:
    """What the look before left; None when there was none, or it cannot be read."""
    try:
        kept = json.loads(STATE.read_text())
        engines = {name: Seen(**seen) for name, seen in kept.pop("engines").items()}
        return Look(engines=engines, clients=frozenset(kept.pop("clients")), **kept) if engines else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


def save(look: Look) -> None:
    partial = STATE.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(look) | {"clients": sorted(look.clients)}))
    partial.replace(STATE)


def forget() -> None:
    STATE.unlink(missing_ok=True)
