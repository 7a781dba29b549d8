"""What to do: which volumes, what becomes of each copy's Job, and whether the model can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from app.kube.conditions import Finding, format_time, later, parse_time
from app.kube.duration import parse_duration
from app.kube.quantity import parse_quantity
from app.modelcache.checks import FAILURES, OBSTACLES, UNAPPLIED, find_all, find_forbidden_path, retry_moment
from app.modelcache.facts import Copy, Facts
from app.settings import Settings

LEAST_INTERVAL = 60.0
"""Seconds; admission refuses less, and an object that was stored before must not keep the source busy."""


class JobStep(Enum):
    """What becomes of a copy's Job."""

    WAIT = "the volume must be there first, and seen to be ours: a Job must never write into somebody else's"
    CREATE = "start the download"
    KEEP = "answer the Job as it is"
    DONE = "it completed, and its object was removed since"
    DISCARD = "it ended, and is to be done again: remove it, a later sync starts it anew"


@dataclass(frozen=True)
class Plan:
    """The decision."""

    size: str
    storage_class: str
    steps: tuple[JobStep, ...]
    """One a copy."""
    complete: bool
    """Every copy has what the spec asks for; also where nothing is kept."""
    there: bool
    """The model is at its path: complete, or an earlier download of the same content is still there."""
    readable: bool
    """It is there, and who wants to may read it."""
    failure: Finding | None
    unapplied: tuple[Finding, ...]
    again_in: float
    """Seconds until a Job is due again; 0 = none is."""


def plan_cache(facts: Facts, settings: Settings) -> Plan:
    """The plan for a ModelCache."""
    there = facts.first is None or facts.first.is_readable(facts.download.path)
    return Plan(
        size=_kept_size(facts),
        storage_class=facts.spec.storage_class or settings.storage_class,
        steps=tuple(_job_step(facts, copy) for copy in facts.copies),
        complete=all(copy.is_complete for copy in facts.copies),
        there=there,
        readable=there and find_forbidden_path(facts) is None,
        failure=next(iter(find_all(FAILURES, facts)), None),
        unapplied=find_all(UNAPPLIED, facts),
        again_in=min(_waits(facts), default=0.0),
    )


def _kept_size(facts: Facts) -> str:
    """The larger of what is there and what is asked: a claim can only grow."""
    there = [copy.claim.size for copy in facts.copies if copy.claim and copy.claim.size]
    return max((*there, facts.size), key=parse_quantity)


def _job_step(facts: Facts, copy: Copy) -> JobStep:
    if copy.stray:
        return JobStep.DISCARD
    if find_all(OBSTACLES, facts):
        return JobStep.KEEP if copy.job else JobStep.WAIT
    if copy.job:
        ended_elsewhere = copy.job.is_over and not copy.on_this_volume(copy.job.finished)
        return JobStep.DISCARD if ended_elsewhere or _is_due(facts, copy) else JobStep.KEEP
    if not copy.is_there or not _may_fill(facts, copy):
        return JobStep.WAIT
    return JobStep.DONE if copy.is_recorded and not _is_due(facts, copy) else JobStep.CREATE


def _may_fill(facts: Facts, copy: Copy) -> bool:
    """Further copies are made of the first one."""
    first = facts.first
    return copy.index == 0 or (first is not None and first.is_complete)


def _is_due(facts: Facts, copy: Copy) -> bool:
    moment = parse_time(_next_moment(facts, copy))
    return moment is not None and moment <= facts.now


def _next_moment(facts: Facts, copy: Copy) -> str:
    """When the copy's Job is to be made anew by itself: after a failure that may pass, or by schedule; "" = never."""
    if copy.job and copy.job.failure:
        return retry_moment(copy)
    interval, done = facts.spec.refresh_interval, parse_time(copy.updated)
    if not interval or copy.index or done is None or not copy.is_complete:
        return ""
    return format_time(later(done, max(LEAST_INTERVAL, parse_duration(interval))))


def _waits(facts: Facts) -> Iterator[float]:
    moments = (parse_time(_next_moment(facts, copy)) for copy in facts.copies)
    yield from (max(1.0, (moment - facts.now).total_seconds()) for moment in moments if moment)
