"""What is told: phase, progress, where the model is, and the conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.kube.conditions import Condition, ErrorClass, Finding, Reason, Status, with_times
from app.kube.quantity import parse_quantity
from app.modelcache.facts import Facts
from app.modelcache.plan import JobStep, Plan
from app.modelcache.schema import ModelCacheStatus, Phase


def build_status(
    facts: Facts,
    plan: Plan,
    blocked: Finding | None,
    conflict: Condition,
    previous: Sequence[Mapping[str, Any]],
    now: datetime,
) -> dict[str, Any]:
    """The status of a ModelCache; `blocked` is what keeps its children from being sent."""
    trouble = _trouble(plan, blocked, conflict)
    ready, downloaded = _ready(facts, plan, trouble), _downloaded(facts, plan, trouble)
    unapplied = _unapplied(plan.unapplied)
    status = ModelCacheStatus(
        phase=_phase(facts, plan, trouble),
        download_progress=_progress(facts, plan),
        size_on_disk=_size_on_disk(facts, plan) or None,
        last_updated=_last_updated(facts, plan) or None,
        version=facts.download.revision,
        path=facts.download.path,
        claim_name=facts.claim_name,
        job_name=facts.download.job_name,
        completed_job=_completed_job(facts, plan) or None,
        conditions=with_times((ready, downloaded, _storage(facts), *unapplied, conflict), previous, now),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _trouble(plan: Plan, blocked: Finding | None, conflict: Condition) -> Finding | None:
    """The first thing that a person must see to."""
    if conflict.status is Status.TRUE:
        return blocked or plan.failure or Finding(ErrorClass.PERMANENT, conflict.reason, conflict.message)
    return blocked or plan.failure


def _phase(facts: Facts, plan: Plan, trouble: Finding | None) -> Phase:
    if trouble:
        return Phase.FAILED
    if plan.complete:
        return Phase.READY
    return Phase.DOWNLOADING if _is_downloading(facts) else Phase.PENDING


def _is_downloading(facts: Facts) -> bool:
    bound = facts.claim is not None and facts.claim.phase == "Bound"
    return bound and facts.job is not None and facts.job.active


def _progress(facts: Facts, plan: Plan) -> int:
    if plan.complete:
        return 100
    return facts.job.progress if facts.job and plan.step is JobStep.KEEP else 0


def _completed_job(facts: Facts, plan: Plan) -> str:
    if plan.complete:
        return facts.download.job_name
    return facts.observed.previous.completed_job if plan.readable else ""


def _last_updated(facts: Facts, plan: Plan) -> str:
    if plan.complete and facts.job and facts.job.finished:
        return facts.job.finished
    return facts.observed.previous.last_updated if plan.readable else ""


def _size_on_disk(facts: Facts, plan: Plan) -> str:
    if plan.complete and facts.job and facts.job.size_on_disk:
        return facts.job.size_on_disk
    return facts.observed.previous.size_on_disk if plan.readable else ""


def _ready(facts: Facts, plan: Plan, trouble: Finding | None) -> Condition:
    if plan.readable:
        return Condition("Ready", Status.TRUE, Reason.SUCCESSFUL, _readable(facts, plan, trouble))
    if trouble:
        return Condition("Ready", Status.FALSE, trouble.reason, trouble.message)
    return Condition("Ready", Status.FALSE, _waiting_reason(facts), _waiting(facts))


def _downloaded(facts: Facts, plan: Plan, trouble: Finding | None) -> Condition:
    if plan.complete:
        return Condition("Downloaded", Status.TRUE, Reason.SUCCESSFUL, "Model successfully downloaded and cached.")
    if trouble:
        return Condition("Downloaded", Status.FALSE, trouble.reason, trouble.message)
    return Condition("Downloaded", Status.FALSE, _waiting_reason(facts), _waiting(facts))


def _readable(facts: Facts, plan: Plan, trouble: Finding | None) -> str:
    where = f"Model {facts.download.model} is at {facts.download.path} on PersistentVolumeClaim {facts.claim_name}."
    if plan.complete:
        return where
    return f"{where} This is an earlier download. {trouble.message if trouble else _waiting(facts)}"


def _waiting_reason(facts: Facts) -> Reason:
    return Reason.IN_PROGRESS if _is_downloading(facts) else Reason.PENDING


def _waiting(facts: Facts) -> str:
    job = facts.job
    if facts.claim is None or facts.claim.phase != "Bound":
        return _unbound(facts)
    if job is None:
        return f"Job {facts.download.job_name} is being created."
    if not job.active:
        return f"Job {facts.download.job_name} has not started yet."
    return f"Job {facts.download.job_name} downloads the model: {job.progress} % is done."


def _unbound(facts: Facts) -> str:
    if facts.claim is None:
        return f"PersistentVolumeClaim {facts.claim_name} does not exist yet."
    modes = ", ".join(facts.claim.access_modes) or facts.spec.access_mode.value
    of_class = f"class {facts.claim.storage_class}" if facts.claim.storage_class else "the default class"
    size = facts.claim.size or facts.size
    return f"PersistentVolumeClaim {facts.claim_name} ({of_class}, {modes}, {size}) is not bound."


def _storage(facts: Facts) -> Condition:
    if facts.is_lost:
        message = f"PersistentVolumeClaim {facts.claim_name} has lost its volume."
        return Condition("StorageReady", Status.FALSE, Reason.FAILED, message)
    if facts.claim is None or facts.claim.phase != "Bound":
        return Condition("StorageReady", Status.FALSE, Reason.PENDING, _unbound(facts))
    return Condition("StorageReady", Status.TRUE, Reason.SUCCESSFUL, _bound(facts))


def _bound(facts: Facts) -> str:
    """The claim's size, and how far a growth has come."""
    claim = facts.claim
    there = claim.capacity or claim.size if claim else ""
    bound = f"PersistentVolumeClaim {facts.claim_name} is bound" + (f" with {there}." if there else ".")
    if not there or parse_quantity(there) >= parse_quantity(facts.size):
        return bound
    return f"{bound} It is to grow to {facts.size}, for which its StorageClass needs allowVolumeExpansion: true."


def _unapplied(findings: Sequence[Finding]) -> list[Condition]:
    """One condition for all that the spec asks and that is not done; none when all is."""
    if not findings:
        return []
    wrong = [finding for finding in findings if finding.reason is Reason.CONFIGURATION_ERROR]
    reason = Reason.CONFIGURATION_ERROR if wrong else Reason.PENDING
    return [Condition("SpecApplied", Status.FALSE, reason, " ".join(finding.message for finding in findings))]
