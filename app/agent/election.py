"""Who leads: what one candidate knows of the Lease, and what it may do with that. The clock is the caller's.

    a candidate may take the Lease      when its record has not changed for leaseDuration, as seen by its own clock
    a leader may write until            start of its last successful renewal + RENEW_DEADLINE
    a write has arrived, or never will, WRITE_TIMEOUT after it was sent

RENEW_DEADLINE + WRITE_TIMEOUT < LEASE_DURATION, and a follower sees a renewal only after it has begun; so a leader's
last write arrives before anybody else may lead, whatever their clocks say, as long as they run at the same rate. Times
of the record itself are for people. Source of the protocol: k8s.io/client-go/tools/leaderelection.

The kubernetes library's own election (37.0) was not used: its deadline begins anew after every pause, its requests have
no timeout, so a leader can outlast its Lease; it measures by the wall clock; it never lets go of the Lease; and what
leads has nothing to ask before it writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from app.agent.snapshot import Json
from app.kube.lenient import count_at, text_at

LEASE_DURATION = 15
"""Seconds."""
RENEW_DEADLINE = 10.0
RETRY_PERIOD = 2.5
"""Seconds between renewals, and between a follower's looks."""
WRITE_TIMEOUT = 4.0


@dataclass(frozen=True)
class Record:
    """The Lease as it was read."""

    holder: str
    seconds: int
    acquired: str
    renewed: str
    transitions: int
    version: str


@dataclass(frozen=True)
class Candidate:
    """One replica. Times are seconds of a clock of its own that never goes back."""

    identity: str
    seen: Record | None = None
    seen_at: float = 0.0
    """When the record was first seen as it is."""
    renewed_at: float | None = None
    """Start of the write that last made this candidate the holder; None: it does not lead."""


def parse_record(lease: Json) -> Record:
    return Record(
        holder=text_at(lease, "spec", "holderIdentity"),
        seconds=count_at(lease, "spec", "leaseDurationSeconds"),
        acquired=text_at(lease, "spec", "acquireTime"),
        renewed=text_at(lease, "spec", "renewTime"),
        transitions=count_at(lease, "spec", "leaseTransitions"),
        version=text_at(lease, "metadata", "resourceVersion"),
    )


def with_seen(candidate: Candidate, record: Record | None, now: float) -> Candidate:
    """After a look at the Lease (None: there is none). Somebody else's name in it ends our term at once."""
    if record == candidate.seen:
        return candidate
    leads = record is not None and record.holder == candidate.identity
    return replace(candidate, seen=record, seen_at=now, renewed_at=candidate.renewed_at if leads else None)


def with_written(candidate: Candidate, record: Record, begun: float) -> Candidate:
    """After a write of the Lease that began at `begun` and succeeded."""
    leads = record.holder == candidate.identity
    return replace(candidate, seen=record, seen_at=begun, renewed_at=begun if leads else None)


def may_take(candidate: Candidate, now: float) -> bool:
    """Whether the Lease may be written: it is nobody's, ours, or has not been renewed for too long."""
    seen = candidate.seen
    return seen is None or seen.holder in ("", candidate.identity) or now >= candidate.seen_at + seen.seconds


def may_write(candidate: Candidate, now: float) -> bool:
    """Whether this candidate leads, and a write begun now is sure to arrive while it does."""
    return candidate.renewed_at is not None and now < candidate.renewed_at + RENEW_DEADLINE


def build_lease(candidate: Candidate, now: datetime) -> dict[str, Any]:
    """spec of the Lease that makes or keeps this candidate the holder."""
    seen = candidate.seen
    time = _micro_time(now)
    kept = seen is not None and seen.holder == candidate.identity
    return {
        "holderIdentity": candidate.identity,
        "leaseDurationSeconds": LEASE_DURATION,
        "acquireTime": seen.acquired if seen and kept else time,
        "renewTime": time,
        "leaseTransitions": (seen.transitions if kept else seen.transitions + 1) if seen else 0,
    }


def build_release(now: datetime) -> dict[str, Any]:
    """spec of a Lease that the next candidate may take at once."""
    return {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time(now)}


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
