"""One heartbeat a minute on every GPUPool: it says that the agent's facts are those of this moment."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.agent.patch import Patch, Target, merge_patch
from app.agent.snapshot import Pool, Snapshot
from app.kube.conditions import format_time, parse_time
from app.kube.names import HEARTBEAT_ANNOTATION

PERIOD = timedelta(seconds=60)


def plan_heartbeats(snapshot: Snapshot, now: datetime) -> list[Patch]:
    """Patches of the pools whose heartbeat is a minute old, or was stamped by a clock that is far ahead."""
    return [_beat(pool, now) for _, pool in sorted(snapshot.pools.items()) if seconds_left(pool, now) <= 0]


def seconds_left(pool: Pool, now: datetime) -> float:
    """Seconds until a pool needs its next heartbeat."""
    stamped = parse_time(pool.heartbeat)
    return (PERIOD - abs(now - stamped)).total_seconds() if stamped else 0.0


def _beat(pool: Pool, now: datetime) -> Patch:
    annotations = {HEARTBEAT_ANNOTATION: format_time(now)}
    return merge_patch(Target.HEARTBEAT, pool, {"metadata": {"annotations": annotations}})
