"""Observed facts + plan -> the status that people and InferenceServices read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.api.v1alpha1.modelcache import CopyStatus, DownloadStatus, ModelCacheStatus, Phase
from app.contracts.download import DownloadReport
from app.fit.model import to_json
from app.kube.conditions import (
    RETRY_SECONDS,
    Condition,
    ErrorClass,
    Finding,
    Reason,
    Status,
    find_condition,
    with_times,
)
from app.kube.lenient import count_at, text_at
from app.kube.quantity import format_bytes, parse_quantity
from app.modelcache.checks import class_of, find_forbidden_path, said
from app.modelcache.download import is_folder_of
from app.modelcache.facts import Copy, Facts
from app.modelcache.observe import Job
from app.modelcache.plan import JobStep, Plan
from app.modelcache.volume import VolumeKind


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
    first = facts.first
    status = ModelCacheStatus(
        phase=_phase(facts, plan, trouble),
        download_progress=_progress(facts, plan),
        download=_download(facts, plan),
        path=facts.path,
        claim_name=(first.claim_name or None) if first else None,
        host_path=facts.volume.host_path or None,
        access_mode=facts.access_mode or None,
        copies=[_copy(facts, plan, copy) for copy in facts.copies] or None,
        last_updated=(first.updated or None) if first and plan.there else None,
        job_name=first.job_name if first else None,
        **_content(facts, plan),
        conditions=with_times(
            (ready, downloaded, *_verified(facts, previous), *_storage(facts), *unapplied, conflict), previous, now
        ),
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
    return Phase.DOWNLOADING if _at_work(facts) else Phase.PENDING


def _at_work(facts: Facts) -> Copy | None:
    """The first copy that is being filled."""
    return next((copy for copy in facts.copies if copy.is_bound and copy.job and copy.job.is_at_work), None)


def _progress(facts: Facts, plan: Plan) -> int:
    first = facts.first
    if first is None or first.is_complete:
        return 100
    return first.job.report.percent if first.job and plan.steps[0] is JobStep.KEEP else 0


def _download(facts: Facts, plan: Plan) -> DownloadStatus | None:
    """Of the Job that is there; of one that was removed since, as it was remembered."""
    if facts.first and facts.first.job:
        return _counted(facts.first.job.report)
    before = facts.previous.download
    if not before or not plan.there:
        return None
    return DownloadStatus(
        bytes=count_at(before, "bytes"),
        total=count_at(before, "total") or None,
        bytes_per_second=count_at(before, "bytesPerSecond") or None,
        files=count_at(before, "files"),
        files_total=count_at(before, "filesTotal") or None,
    )


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


def _copy(facts: Facts, plan: Plan, copy: Copy) -> CopyStatus:
    """What is remembered of it stays also while it may not be read."""
    if not copy.is_readable(facts.download.path):
        return CopyStatus(claim_name=copy.claim_name, ready=False)
    now_done = copy.is_complete
    return CopyStatus(
        claim_name=copy.claim_name,
        ready=plan.readable or copy.index > 0,
        path=copy.path if is_folder_of(copy.path, facts.download.path) else facts.download.path,
        completed_job=copy.job_name if now_done else copy.record.completed_job,
        last_updated=copy.updated or None,
    )


def _content(facts: Facts, plan: Plan) -> dict[str, Any]:
    """What is known of the content at the path: of the download just completed, else what was remembered of it."""
    asked, first, previous = facts.download.revision, facts.first, facts.previous
    if first is None or not plan.there:
        return {"version": asked}
    if first.last_report:
        return _reported(first.last_report, asked)
    return {
        "version": previous.version or asked,
        "size_on_disk": previous.size_on_disk or None,
        "model": dict(previous.model) or None,
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


def _ready(facts: Facts, plan: Plan, trouble: Finding | None) -> Condition:
    if plan.readable:
        return Condition("Ready", Status.TRUE, Reason.SUCCESSFUL, _readable(facts, plan, trouble))
    if trouble:
        return Condition("Ready", Status.FALSE, trouble.reason, f"{trouble.message} [{trouble.error.value}]")
    return Condition("Ready", Status.FALSE, _waiting_reason(facts), _waiting(facts))


def _downloaded(facts: Facts, plan: Plan, trouble: Finding | None) -> Condition:
    if plan.complete:
        return Condition("Downloaded", Status.TRUE, Reason.SUCCESSFUL, _done(facts))
    if trouble:
        return Condition("Downloaded", Status.FALSE, trouble.reason, f"{trouble.message} [{trouble.error.value}]")
    return Condition("Downloaded", Status.FALSE, _waiting_reason(facts), _waiting(facts))


def _done(facts: Facts) -> str:
    if facts.volume.kind is VolumeKind.NONE:
        return "Nothing is kept: spec.caching.enabled is false."
    done = "Model successfully downloaded and cached."
    report = facts.first.last_report if facts.first else None
    return f"{done} {report.warning}" if report and report.warning else done


def _readable(facts: Facts, plan: Plan, trouble: Finding | None) -> str:
    model = facts.download.fetch.model
    if facts.volume.kind is VolumeKind.NONE:
        return f"Every pod fetches model {model} for itself before it starts: spec.caching.enabled is false."
    where = f"Model {model} is at {facts.path} on {_place(facts)}."
    if plan.complete:
        return f"{where} {trouble.message}" if trouble else where
    return f"{where} {_behind(facts)} {trouble.message if trouble else _waiting(facts)}"


def _behind(facts: Facts) -> str:
    if facts.first and facts.first.is_complete:
        ready = sum(copy.is_complete for copy in facts.copies)
        return f"{ready} of {len(facts.copies)} copies are filled."
    return "This is an earlier download."


def _place(facts: Facts) -> str:
    names = [copy.claim_name for copy in facts.copies if copy.claim_name]
    if not names:
        return f"folder {facts.volume.host_path} of the nodes"
    return f"PersistentVolumeClaim {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _verified(facts: Facts, previous: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """By hashes of the source; sizes are always compared. What was said stays when the Job is removed."""
    first = facts.first
    if first is None or not first.is_complete:
        return []
    return [_verified_now(first.last_report)] if first.job else _verified_before(previous)


def _verified_before(previous: Sequence[Mapping[str, Any]]) -> list[Condition]:
    found = find_condition(previous, "Verified")
    try:
        status, reason = Status(str(found.get("status"))), Reason(str(found.get("reason")))
    except ValueError:
        return []
    return [Condition("Verified", status, reason, text_at(found, "message"))]


def _verified_now(report: DownloadReport | None) -> Condition:
    if report is None:
        message = "The downloader did not report how it ended: its last words were lost."
        return Condition("Verified", Status.UNKNOWN, Reason.UNVERIFIED, message)
    verified, files = report.verified_files, max(report.files_total, report.files_done)
    if not verified:
        message = "The source gives no hashes: sizes were compared."
        return Condition("Verified", Status.UNKNOWN, Reason.UNVERIFIED, message)
    rest = "" if verified >= files else " Of the others the source gives no hash, and sizes were compared."
    message = f"{verified} of {max(files, verified)} files have the hash that the source gives.{rest}"
    return Condition("Verified", Status.TRUE, Reason.SUCCESSFUL, message)


def _waiting_reason(facts: Facts) -> Reason:
    return Reason.IN_PROGRESS if _at_work(facts) else Reason.PENDING


def _waiting(facts: Facts) -> str:
    copy = next((it for it in facts.copies if not it.is_complete), None)
    if copy is None:
        return "Nothing is waited for."
    if not copy.is_bound:
        return _unbound(facts, copy)
    job = copy.job
    if job is None:
        return f"Job {copy.job_name} is being created."
    return f"Job {copy.job_name} {_doing(copy, job)}.{_last_try(job.report)}"


def _doing(copy: Copy, job: Job) -> str:
    if job.suspended:
        return "is suspended: whoever suspended it, such as a queue for Jobs, starts it"
    if job.waiting or (job.problem and not job.is_at_work):
        return f"waits for its pod to start: {job.problem or _ask(copy)}".rstrip(".")
    if not job.active:
        return "waits for its next try" if job.report.error else "has not started yet"
    verb = "copies" if copy.index else "downloads"
    return f"{verb} the model: {job.report.percent} % is done{_rate(job.report)}"


def _ask(copy: Copy) -> str:
    return f"`kubectl describe pods --selector job-name={copy.job_name}` says why"


def _last_try(report: DownloadReport) -> str:
    """A Job has seven tries, which may take an hour: what is wrong can be mended before the last one."""
    error = report.error
    if not error:
        return ""
    again = " It is tried again." if class_of(error) in RETRY_SECONDS else ""
    return f" The last try failed: {said(error)}{again}"


def _rate(report: DownloadReport) -> str:
    """Only what does not change with each report: a message is no speedometer."""
    return f", of {format_bytes(report.bytes_total)}B" if report.bytes_total else ""


def _unbound(facts: Facts, copy: Copy) -> str:
    if copy.claim is None:
        return f"PersistentVolumeClaim {copy.claim_name} does not exist yet."
    modes = ", ".join(copy.claim.access_modes) or facts.spec.access_mode.value
    of_class = f"class {copy.claim.storage_class}" if copy.claim.storage_class else "the default class"
    size = copy.claim.size or facts.size
    unbound = f"PersistentVolumeClaim {copy.claim_name} ({of_class}, {modes}, {size}) is not bound"
    if copy.job and not copy.job.is_over and (copy.job.problem or copy.job.active):
        return f"{unbound}, and Job {copy.job_name} {_doing(copy, copy.job)}."
    return f"{unbound}."


def _storage(facts: Facts) -> list[Condition]:
    """None where nothing is kept."""
    if not facts.copies:
        return []
    if find_forbidden_path(facts):
        message = f"Folder {facts.volume.host_path} of the nodes is not allowed: see Ready."
        return [Condition("StorageReady", Status.FALSE, Reason.CONFIGURATION_ERROR, message)]
    lost = next((copy for copy in facts.copies if copy.is_lost), None)
    if lost:
        message = f"PersistentVolumeClaim {lost.claim_name} has lost its volume."
        return [Condition("StorageReady", Status.FALSE, Reason.FAILED, message)]
    unbound = next((copy for copy in facts.copies if not copy.is_bound), None)
    if unbound:
        return [Condition("StorageReady", Status.FALSE, Reason.PENDING, _unbound(facts, unbound))]
    return [Condition("StorageReady", Status.TRUE, Reason.SUCCESSFUL, _bound(facts))]


def _bound(facts: Facts) -> str:
    """The claim's size, and how far a growth has come."""
    claim = facts.copies[0].claim
    if claim is None:
        return f"Folder {facts.volume.host_path} of the nodes is used."
    there = claim.capacity or claim.size
    bound = f"{_place(facts)} is bound" + (f" with {there}." if there else ".")
    grows = facts.volume.kind is VolumeKind.CLAIMS
    if not there or not grows or parse_quantity(there) >= parse_quantity(facts.size):
        return bound
    return f"{bound} It is to grow to {facts.size}, for which its StorageClass needs allowVolumeExpansion: true."


def _unapplied(findings: Sequence[Finding]) -> list[Condition]:
    """One condition for all that the spec asks and that is not done; none when all is."""
    if not findings:
        return []
    wrong = [finding for finding in findings if finding.reason is Reason.CONFIGURATION_ERROR]
    reason = Reason.CONFIGURATION_ERROR if wrong else Reason.PENDING
    return [Condition("SpecApplied", Status.FALSE, reason, " ".join(finding.message for finding in findings))]
