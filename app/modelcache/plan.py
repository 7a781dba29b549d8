"""What to do: which volumes, what becomes of each copy's Job, and whether the model can be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from app.api.v1alpha1.modelcache import ModelCacheSpec
from app.kube.conditions import Finding, format_time, later, parse_time
from app.kube.duration import parse_duration
from app.kube.quantity import parse_quantity
from app.modelcache.checks import FAILURES, OBSTACLES, UNAPPLIED, error_class_of, path_forbidden, retry_at
from app.modelcache.completion import Completion
from app.modelcache.facts import Facts
from app.modelcache.observe import Copy
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
    forbidden: bool
    """The nodes' folder is not allowed."""
    failure: Finding | None
    unapplied: tuple[Finding, ...]
    again_in: float
    """Seconds until a Job is due again; 0 = none is."""


def plan_cache(facts: Facts, settings: Settings) -> Plan:
    """The plan for a ModelCache."""
    obstacle, forbidden = OBSTACLES.evaluate(facts), path_forbidden(facts) is not None
    copies = tuple(zip(facts.copies, facts.completions, strict=True))
    moments = tuple(_next_moment(facts.spec, copy, done) for copy, done in copies)
    filled = facts.first_done is not None and facts.first_done.complete
    there = facts.first_done is None or facts.first_done.readable
    return Plan(
        size=_kept_size(facts),
        storage_class=facts.spec.storage_class or settings.storage_class,
        steps=tuple(
            _kept_or_awaited(copy) if obstacle else _job_step(copy, done, filled, _is_past(moment, facts.now))
            for (copy, done), moment in zip(copies, moments, strict=True)
        ),
        complete=all(done.complete for done in facts.completions),
        there=there,
        readable=there and not forbidden,
        forbidden=forbidden,
        failure=obstacle or FAILURES.evaluate(facts),
        unapplied=UNAPPLIED.evaluate_all(facts),
        again_in=min((max(1.0, (it - facts.now).total_seconds()) for it in moments if it), default=0.0),
    )


def _kept_size(facts: Facts) -> str:
    """The larger of what is there and what is asked: a claim can only grow."""
    there = [copy.claim.size for copy in facts.copies if copy.claim and copy.claim.size]
    return max((*there, facts.size), key=parse_quantity)


def _kept_or_awaited(copy: Copy) -> JobStep:
    """Where no Job may be made."""
    if copy.stray:
        return JobStep.DISCARD
    return JobStep.KEEP if copy.job else JobStep.WAIT


def _job_step(copy: Copy, done: Completion, filled: bool, is_due: bool) -> JobStep:
    """`filled` says whether the first copy is complete: the others are made of it."""
    if copy.stray:
        return JobStep.DISCARD
    if copy.job:
        return JobStep.DISCARD if done.stale_job or is_due else JobStep.KEEP
    if not copy.is_there or (copy.index > 0 and not filled):
        return JobStep.WAIT
    return JobStep.DONE if done.recorded and not is_due else JobStep.CREATE


def _next_moment(spec: ModelCacheSpec, copy: Copy, done: Completion) -> datetime | None:
    """When the copy's Job is to be made anew by itself: after a failure that may pass, or by schedule."""
    error, interval, updated = error_class_of(copy), spec.refresh_interval, parse_time(done.updated)
    if error:
        return parse_time(retry_at(copy, error))
    if not interval or copy.index or updated is None or not done.complete:
        return None
    return parse_time(format_time(later(updated, max(LEAST_INTERVAL, parse_duration(interval)))))


def _is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
