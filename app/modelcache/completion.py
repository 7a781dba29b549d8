"""Whether a copy holds the model: concluded once, from its claim, its Job and what the previous status remembers."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.v1alpha1.modelcache import CopyStatus
from app.contracts.download import DownloadReport
from app.kube.conditions import parse_time
from app.modelcache.download import is_folder_of
from app.modelcache.observe import Claim, Copy


@dataclass(frozen=True)
class Completion:
    """What a copy holds."""

    complete: bool
    """The download that the spec asks for is done."""
    readable: bool
    """Complete, or an earlier download of the same content is on this volume."""
    recorded: bool
    """The previous status says that this very Job completed."""
    stale_job: bool
    """Its Job ended, and on an earlier volume."""
    report: DownloadReport | None
    """What the completed Job's downloader said at its end; None when there is no such Job, or its word was lost."""
    path: str
    """Folder of the model on this volume, as it was reported last; "" = not known."""
    updated: str
    """When the latest download was completed."""


def find_completion(copy: Copy, asked: str) -> Completion:
    """`asked` is the folder that the spec asks for."""
    job, record = copy.job, copy.record or CopyStatus(claim_name="", ready=False)
    done, updated = record.completed_job or "", record.last_updated or ""
    remembered = _is_on_volume(copy.claim_name, copy.claim, updated)
    ended_here = job is not None and _is_on_volume(copy.claim_name, copy.claim, job.finished)
    recorded = done == copy.job_name and remembered
    complete = not copy.is_lost and ((job.complete and ended_here) if job else recorded)
    earlier = bool(done) and is_folder_of(record.path or "", asked) and not copy.is_lost and remembered
    report = job.report if complete and job and job.report.path else None
    return Completion(
        complete=complete,
        readable=complete or earlier,
        recorded=recorded,
        stale_job=job is not None and job.is_over and not ended_here,
        report=report,
        path=report.path if report else (record.path or "" if remembered else ""),
        updated=job.finished if complete and job and job.finished else updated,
    )


def _is_on_volume(claim_name: str, claim: Claim | None, finished: str) -> bool:
    """Whether work that finished then is on today's volume: a claim that was made later is empty."""
    if not claim_name:
        return True
    if claim is None:
        return False
    end = parse_time(finished)
    return claim.created is None or end is None or claim.created <= end
