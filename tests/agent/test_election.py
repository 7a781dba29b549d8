"""Two replicas, clocks that we hold: never do both write, and one always leads in the end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.agent.election import (
    LEASE_DURATION,
    RENEW_DEADLINE,
    WRITE_TIMEOUT,
    Candidate,
    Record,
    build_lease,
    build_release,
    may_take,
    may_write,
    parse_record,
    with_seen,
    with_written,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def record(holder: str, version: str = "1", seconds: int = LEASE_DURATION) -> Record:
    return Record(holder, seconds, "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z", 0, version)


def test_the_times_leave_room_for_the_last_write() -> None:
    assert RENEW_DEADLINE + WRITE_TIMEOUT < LEASE_DURATION


def test_a_lease_that_is_missing_released_or_ours_may_be_taken() -> None:
    us = Candidate("us")
    assert may_take(with_seen(us, None, 0), 0)
    assert may_take(with_seen(us, record(""), 0), 0)
    assert may_take(with_seen(us, record("us"), 0), 0)


def test_somebody_elses_lease_may_be_taken_once_it_has_not_changed_for_its_duration() -> None:
    us = with_seen(Candidate("us"), record("them", "1"), 100)
    assert not may_take(us, 100 + LEASE_DURATION - 1)
    assert may_take(us, 100 + LEASE_DURATION)
    renewed = with_seen(us, record("them", "2"), 110)
    assert not may_take(renewed, 100 + LEASE_DURATION)
    assert not may_take(with_seen(us, record("them", "1"), 110), 110), "a look alone proves nothing new"


def test_a_leader_may_write_until_its_deadline_counted_from_the_start_of_the_renewal() -> None:
    us = with_written(Candidate("us"), record("us"), begun=100)
    assert may_write(us, 100 + RENEW_DEADLINE - 0.1)
    assert not may_write(us, 100 + RENEW_DEADLINE)
    assert not may_write(Candidate("us"), 100)


def test_somebody_elses_name_in_the_lease_ends_the_term_at_once() -> None:
    us = with_written(Candidate("us"), record("us"), begun=100)
    assert not may_write(with_seen(us, record("them", "2"), 101), 101)
    assert may_write(with_seen(us, record("us", "2"), 101), 101)


def test_a_renewal_keeps_the_beginning_of_the_term_and_a_change_of_leader_is_counted() -> None:
    ours = build_lease(with_written(Candidate("us"), record("us"), 0), EPOCH + timedelta(hours=1))
    assert ours["acquireTime"] == "2026-01-01T00:00:00.000000Z"
    assert (ours["renewTime"], ours["leaseTransitions"]) == ("2026-01-01T01:00:00.000000Z", 0)
    taken = build_lease(with_seen(Candidate("us"), record("them"), 0), EPOCH + timedelta(hours=1))
    assert (taken["acquireTime"], taken["leaseTransitions"]) == ("2026-01-01T01:00:00.000000Z", 1)


@dataclass
class Server:
    """The API server's Lease: a write holds only over the version it was decided from."""

    lease: dict[str, Any] | None = None
    versions: Any = field(default_factory=lambda: itertools.count(1))

    def read(self) -> Record | None:
        return parse_record(self.lease) if self.lease else None

    def write(self, seen: Record | None, spec: dict[str, Any]) -> Record | None:
        """None: a conflict."""
        current = self.read()
        if (seen.version if seen else None) != (current.version if current else None):
            return None
        before = self.lease["spec"] if self.lease else {}
        self.lease = {"metadata": {"resourceVersion": str(next(self.versions))}, "spec": {**before, **spec}}
        return self.read()


@dataclass(frozen=True)
class Step:
    """One thing that happens to one of the replicas."""

    who: int
    pause: float
    """Seconds before it happens."""
    look: bool
    """Whether the Lease is read first."""
    there: float
    """Seconds until the write reaches the server, and back."""
    back: float
    lost: bool
    """The answer never comes back, though the write took effect."""
    release: bool


STEPS = st.lists(
    st.builds(
        Step,
        who=st.integers(0, 1),
        pause=st.floats(0, 20),
        look=st.booleans(),
        there=st.floats(0, WRITE_TIMEOUT / 2),
        back=st.floats(0, WRITE_TIMEOUT / 2),
        lost=st.booleans(),
        release=st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


class Pair:
    """Two replicas whose clocks differ by a constant; time passes for both alike."""

    def __init__(self, offset: float) -> None:
        self.server = Server()
        self.now = 1000.0
        self.offsets = (0.0, offset)
        self.candidates = [Candidate("a"), Candidate("b")]

    def clock(self, who: int) -> float:
        return self.now + self.offsets[who]

    def writers(self) -> list[int]:
        return [who for who in (0, 1) if may_write(self.candidates[who], self.clock(who))]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def attempt(self, step: Step) -> None:
        """What io/lease.py does: look perhaps, write if that may be done."""
        candidate = self.candidates[step.who]
        if step.look:
            candidate = with_seen(candidate, self.server.read(), self.clock(step.who))
            self.candidates[step.who] = candidate
        if not may_take(candidate, self.clock(step.who)):
            return
        begun = self.clock(step.who)
        self.pass_time(step.there)
        answer = self.server.write(candidate.seen, build_lease(candidate, EPOCH))
        self.pass_time(step.back)
        if answer and not step.lost:
            self.candidates[step.who] = with_written(candidate, answer, begun)

    def release(self, who: int) -> None:
        candidate = self.candidates[who]
        self.candidates[who] = Candidate(candidate.identity)
        self.server.write(candidate.seen, build_release(EPOCH))


@given(steps=STEPS, offset=st.floats(-5000, 5000))
@settings(max_examples=500, deadline=None)
def test_two_replicas_never_both_write(steps: list[Step], offset: float) -> None:
    pair = Pair(offset)
    last_write: dict[int, float] = {}
    for step in steps:
        pair.pass_time(step.pause)
        before = pair.writers()
        assert len(before) <= 1
        for who in before:
            last_write[who] = pair.now + WRITE_TIMEOUT  # sent now, it may arrive as late as this
        if step.release and step.who in before:
            last_write[step.who] = pair.now  # a release waits for what is under way
            pair.release(step.who)
        else:
            pair.attempt(step)
        for who in pair.writers():
            others = [until for other, until in last_write.items() if other != who]
            assert all(until <= pair.now for until in others), "a write of the former leader may still arrive"


@given(steps=STEPS)
@settings(max_examples=100, deadline=None)
def test_whatever_happened_a_replica_that_goes_on_trying_leads_in_the_end(steps: list[Step]) -> None:
    pair = Pair(0.0)
    for step in steps:
        pair.pass_time(step.pause)
        pair.attempt(step)
    for _ in range(20):
        pair.pass_time(2.5)
        pair.attempt(Step(who=1, pause=0, look=True, there=0.1, back=0.1, lost=False, release=False))
    assert pair.writers() == [1]
