"""What a copy waits for, in words that do not change with each report."""

from __future__ import annotations

from app.contracts.download import DownloadReport
from app.kube.conditions import (
    RETRY_SECONDS,
    Reason,
)
from app.kube.quantity import format_bytes
from app.modelcache.checks import class_of, said
from app.modelcache.facts import Facts
from app.modelcache.observe import Copy, Job


def waiting_reason(facts: Facts) -> Reason:
    return Reason.IN_PROGRESS if at_work(facts) else Reason.PENDING


def waiting(facts: Facts) -> str:
    copies = zip(facts.copies, facts.completions, strict=True)
    copy = next((it for it, done in copies if not done.complete), None)
    if copy is None:
        return "Nothing is waited for."
    if not copy.is_bound:
        return unbound(facts, copy)
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


def unbound(facts: Facts, copy: Copy) -> str:
    if copy.claim is None:
        return f"PersistentVolumeClaim {copy.claim_name} does not exist yet."
    modes = ", ".join(copy.claim.access_modes) or facts.spec.access_mode.value
    of_class = f"class {copy.claim.storage_class}" if copy.claim.storage_class else "the default class"
    size = copy.claim.size or facts.size
    unbound = f"PersistentVolumeClaim {copy.claim_name} ({of_class}, {modes}, {size}) is not bound"
    if copy.job and not copy.job.is_over and (copy.job.problem or copy.job.active):
        return f"{unbound}, and Job {copy.job_name} {_doing(copy, copy.job)}."
    return f"{unbound}."


def at_work(facts: Facts) -> Copy | None:
    """The first copy that is being filled."""
    return next((copy for copy in facts.copies if copy.is_bound and copy.job and copy.job.is_at_work), None)
