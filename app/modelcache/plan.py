"""What to do: which volume, whether a Job is sent, and whether the model can be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.kube.conditions import Finding
from app.kube.quantity import parse_quantity
from app.modelcache.facts import Facts
from app.modelcache.findings import FAILURES, UNAPPLIED, find_all
from app.settings import Settings


class JobStep(Enum):
    """What becomes of the download's Job."""

    WAIT = "the claim must be seen to be ours first: a Job must never write into somebody else's volume"
    CREATE = "start the download"
    KEEP = "answer the Job as it is"
    DONE = "it completed, and its object was removed since"
    DISCARD = "it ended on a volume that is no more: remove it, a later sync starts a new one"


@dataclass(frozen=True)
class Plan:
    """The decision."""

    size: str
    storage_class: str
    step: JobStep
    complete: bool
    """The download that the spec asks for is done."""
    readable: bool
    """The model is at its path: complete, or an earlier download of the same content is still there."""
    failure: Finding | None
    unapplied: tuple[Finding, ...]


def plan_cache(facts: Facts, settings: Settings) -> Plan:
    """The plan for a ModelCache."""
    complete = _is_complete(facts)
    return Plan(
        size=_kept_size(facts),
        storage_class=facts.spec.storage_class or settings.storage_class,
        step=_job_step(facts),
        complete=complete,
        readable=complete or _is_remembered(facts),
        failure=next(iter(find_all(FAILURES, facts)), None),
        unapplied=find_all(UNAPPLIED, facts),
    )


def _kept_size(facts: Facts) -> str:
    """The larger of what is there and what is asked: a claim can only grow."""
    there = [facts.claim.size] if facts.claim and facts.claim.size else []
    return max((*there, facts.size), key=parse_quantity)


def _job_step(facts: Facts) -> JobStep:
    if facts.job:
        ended_elsewhere = facts.job.is_over and not facts.on_this_volume(facts.job.finished)
        return JobStep.DISCARD if ended_elsewhere else JobStep.KEEP
    if facts.claim is None:
        return JobStep.WAIT
    return JobStep.DONE if _is_recorded(facts) else JobStep.CREATE


def _is_complete(facts: Facts) -> bool:
    if facts.is_lost:
        return False
    if facts.job:
        return facts.job.complete and facts.on_this_volume(facts.job.finished)
    return _is_recorded(facts)


def _is_recorded(facts: Facts) -> bool:
    """The previous status says that this very Job completed."""
    previous = facts.observed.previous
    return previous.completed_job == facts.download.job_name and facts.on_this_volume(previous.last_updated)


def _is_remembered(facts: Facts) -> bool:
    """The previous status says that some Job put the same content on this volume."""
    previous = facts.observed.previous
    same = bool(previous.completed_job) and previous.path == facts.download.path
    return same and not facts.is_lost and facts.on_this_volume(previous.last_updated)
