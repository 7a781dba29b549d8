"""Observed facts + plan -> the status that people and InferenceServices read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.api.v1alpha1.modelcache import AccessMode, CopyStatus, DownloadStatus, ModelCacheStatus, Phase
from app.contracts.download import DownloadReport
from app.fit.model import to_json
from app.kube.conditions import Condition, ErrorClass, Finding, Status, with_times
from app.kube.quantity import format_bytes
from app.modelcache.completion import Completion
from app.modelcache.download import is_folder_of
from app.modelcache.facts import Facts
from app.modelcache.observe import READ_ONLY_MANY, Copy
from app.modelcache.plan import JobStep, Plan
from app.modelcache.status import conditions
from app.modelcache.status.waiting import at_work


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
    found = (
        conditions.ready(facts, plan, trouble),
        conditions.downloaded(facts, plan, trouble),
        *conditions.verified(facts, previous),
        *conditions.storage(facts, plan),
        *conditions.unapplied(plan.unapplied),
        conflict,
    )
    first, done = facts.first, facts.first_done
    status = ModelCacheStatus(
        phase=_phase(facts, plan, trouble),
        download_progress=_progress(facts, plan),
        download=_download(facts, plan),
        path=facts.path,
        claim_name=(first.claim_name or None) if first else None,
        host_path=facts.volume.host_path or None,
        access_mode=_access_mode(facts),
        copies=[_copy(facts, plan, *it) for it in zip(facts.copies, facts.completions, strict=True)] or None,
        last_updated=(done.updated or None) if done and plan.there else None,
        job_name=first.job_name if first else None,
        **_content(facts, plan),
        conditions=with_times(found, previous, now),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _access_mode(facts: Facts) -> str | None:
    """What the first claim can do, seen by those who read; None = not known, or no claim."""
    modes = facts.first.claim.access_modes if facts.first and facts.first.claim else ()
    if not modes:
        return None
    many = {AccessMode.READ_WRITE_MANY.value, READ_ONLY_MANY} & set(modes)
    return (AccessMode.READ_WRITE_MANY if many else AccessMode.READ_WRITE_ONCE).value


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
    return Phase.DOWNLOADING if at_work(facts) else Phase.PENDING


def _progress(facts: Facts, plan: Plan) -> int:
    first, done = facts.first, facts.first_done
    if first is None or done is None or done.complete:
        return 100
    return first.job.report.percent if first.job and plan.steps[0] is JobStep.KEEP else 0


def _download(facts: Facts, plan: Plan) -> DownloadStatus | None:
    """Of the Job that is there; of one that was removed since, as it was remembered."""
    if facts.first and facts.first.job:
        return _counted(facts.first.job.report)
    return facts.previous.download if plan.there else None


def _counted(report: DownloadReport) -> DownloadStatus | None:
    if report == DownloadReport(error=report.error):
        return None
    return DownloadStatus(
        bytes=report.bytes_done,
        total=report.bytes_total or None,
        bytes_per_second=report.bytes_per_second or None,
        files=report.files_done,
        files_total=report.files_total or None,
    )


def _copy(facts: Facts, plan: Plan, copy: Copy, done: Completion) -> CopyStatus:
    """What is remembered of it stays also while it may not be read."""
    if not done.readable:
        return CopyStatus(claim_name=copy.claim_name, ready=False)
    before = copy.record.completed_job if copy.record else None
    return CopyStatus(
        claim_name=copy.claim_name,
        ready=plan.readable or copy.index > 0,
        path=done.path if is_folder_of(done.path, facts.download.path) else facts.download.path,
        completed_job=copy.job_name if done.complete else before,
        last_updated=done.updated or None,
    )


def _content(facts: Facts, plan: Plan) -> dict[str, Any]:
    """What is known of the content at the path: of the download just completed, else what was remembered of it."""
    asked, done, previous = facts.download.revision, facts.first_done, facts.previous
    if done is None or not plan.there:
        return {"version": asked}
    if done.report:
        return _reported(done.report, asked)
    return {
        "version": previous.version or asked,
        "size_on_disk": previous.size_on_disk or None,
        "model": previous.model or None,
        "parameters": previous.parameters or None,
        "model_unknown": previous.model_unknown or None,
    }


def _reported(report: DownloadReport, asked: str | None) -> dict[str, Any]:
    return {
        "version": report.revision or asked,
        "size_on_disk": format_bytes(report.size_on_disk) if report.size_on_disk else None,
        "model": to_json(report.model) if report.model else None,
        "parameters": report.parameters or None,
        "model_unknown": report.model_unknown or None,
    }
