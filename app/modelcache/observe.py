"""What is there: claims, and Jobs with what their downloaders report, as the few facts that are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from app.api.v1alpha1.modelcache import AccessMode, CopyStatus, ModelCacheStatus
from app.contracts.download import REPORT_ANNOTATION, DownloadReport, parse_annotation
from app.kube.conditions import find_condition, parse_time
from app.kube.lenient import mappings_at, text_at, texts_at, value_at
from app.kube.manifest import Manifest, annotation, last_applied
from app.kube.names import PROBLEM_ANNOTATION
from app.kube.quantity import canonical_quantity
from app.metacontroller.protocol import SyncRequest
from app.modelcache.volume import Volume, VolumeKind

CLAIM_KIND = "PersistentVolumeClaim.v1"
JOB_KIND = "Job.batch/v1"
READ_ONLY_MANY = "ReadOnlyMany"
"""An access mode that claims of others may have; the spec has no word for it."""
FILLED = "cache"
"""Name of the volume in the downloader's pod that it fills."""


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim; "" is not known."""

    applied: Manifest
    phase: str
    size: str
    capacity: str
    storage_class: str
    access_modes: tuple[str, ...]
    created: datetime | None


@dataclass(frozen=True)
class Job:
    """The Job of a download."""

    applied: Manifest
    fills: str
    """Name of the claim, or the nodes' folder, that it writes into."""
    complete: bool
    failure: str
    active: bool
    waiting: bool
    """It has a pod, and none of its pods runs: it is not scheduled, or its volume or image is not there yet."""
    suspended: bool
    problem: str
    """Why its pods do not run, as the agent saw it; "" = not known."""
    finished: str
    report: DownloadReport
    """What its downloader said last; everything at its default when it said nothing."""

    @property
    def is_at_work(self) -> bool:
        """One of its pods runs."""
        return self.active and not self.waiting and not self.suspended

    @property
    def is_over(self) -> bool:
        return self.complete or bool(self.failure)


@dataclass(frozen=True)
class Copy:
    """One volume of the cache: its claim, its Job, and what is remembered of it."""

    index: int
    claim_name: str
    """"" = a folder of the nodes."""
    job_name: str
    claim: Claim | None
    job: Job | None
    stray: bool
    """A Job of this name fills another volume, for the spec named that one before: it must go first."""
    record: CopyStatus | None
    """What the previous status says of its completed download."""

    @property
    def is_there(self) -> bool:
        """Whether there is a volume that a Job can mount; a claim must be seen first, for its name may be another's."""
        return not self.claim_name or self.claim is not None

    @property
    def is_bound(self) -> bool:
        return not self.claim_name or (self.claim is not None and self.claim.phase == "Bound")

    @property
    def is_lost(self) -> bool:
        return self.claim is not None and self.claim.phase == "Lost"

    @property
    def is_read_only(self) -> bool:
        """The claim can be mounted for reading only."""
        return self.claim is not None and set(self.claim.access_modes) == {READ_ONLY_MANY}

    @property
    def is_of_one_node(self) -> bool:
        """Pods of one node at a time can mount it."""
        modes = set(self.claim.access_modes) if self.claim else set()
        return bool(modes) and not modes & {AccessMode.READ_WRITE_MANY.value, READ_ONLY_MANY}


def find_copy(request: SyncRequest, volume: Volume, index: int, job_name: str, previous: ModelCacheStatus) -> Copy:
    """A copy of the volume that the spec asks for."""
    name, is_ours = volume.claims[index], volume.kind is VolumeKind.CLAIMS
    place, job = name or str(PurePosixPath(volume.host_path)), find_job(request, job_name)
    stray = job is not None and job.fills != place
    records = {it.claim_name or previous.host_path or "": it for it in previous.copies or ()}
    return Copy(
        index=index,
        claim_name=name,
        job_name=job_name,
        claim=find_claim(request, name, is_ours) if name else None,
        job=None if stray else job,
        stray=stray,
        record=records.get(name or volume.host_path),
    )


def find_claim(request: SyncRequest, name: str, is_ours: bool) -> Claim | None:
    """A claim of ours is a child; any other is looked up."""
    found = request.child(CLAIM_KIND, name) or (None if is_ours else request.related_object(CLAIM_KIND, name))
    return _claim(found) if found else None


def find_own_claims(request: SyncRequest) -> tuple[Claim, ...]:
    """All claims that were made for this cache."""
    return tuple(_claim(found) for _, found in sorted(request.children.get(CLAIM_KIND, {}).items()))


def find_job(request: SyncRequest, name: str) -> Job | None:
    found = request.child(JOB_KIND, name)
    return _job(found) if found else None


def find_jobs(request: SyncRequest) -> dict[str, Job]:
    """All Jobs of this cache, by name."""
    return {text_at(found, "metadata", "name"): _job(found) for found in request.children.get(JOB_KIND, {}).values()}


def _claim(claim: Manifest) -> Claim:
    return Claim(
        applied=last_applied(claim),
        phase=text_at(claim, "status", "phase"),
        size=_quantity(value_at(claim, "spec", "resources", "requests", "storage")),
        capacity=_quantity(value_at(claim, "status", "capacity", "storage")),
        storage_class=text_at(claim, "spec", "storageClassName"),
        access_modes=texts_at(claim, "spec", "accessModes"),
        created=parse_time(text_at(claim, "metadata", "creationTimestamp")),
    )


def _job(job: Manifest) -> Job:
    conditions = [c for c in mappings_at(job, "status", "conditions") if c.get("status") == "True"]
    complete, failed = find_condition(conditions, "Complete"), find_condition(conditions, "Failed")
    end = complete or failed
    return Job(
        applied=last_applied(job),
        fills=_fills(job),
        complete=bool(complete),
        failure="" if complete or not failed else _failure(failed),
        active=bool(value_at(job, "status", "active")),
        waiting=bool(value_at(job, "status", "active")) and value_at(job, "status", "ready") == 0,
        suspended=bool(find_condition(conditions, "Suspended")),
        problem=annotation(job, PROBLEM_ANNOTATION),
        finished=text_at(job, "status", "completionTime") or text_at(end, "lastTransitionTime"),
        report=parse_annotation(annotation(job, REPORT_ANNOTATION)) or DownloadReport(),
    )


def _fills(job: Manifest) -> str:
    volumes = mappings_at(job, "spec", "template", "spec", "volumes")
    found: Mapping[str, Any] = next((it for it in volumes if it.get("name") == FILLED), {})
    if claim := text_at(found, "persistentVolumeClaim", "claimName"):
        return claim
    mounts = [
        it
        for box in mappings_at(job, "spec", "template", "spec", "containers")
        for it in mappings_at(box, "volumeMounts")
    ]
    below = next((text_at(it, "subPath") for it in mounts if it.get("name") == FILLED), "")
    return "/".join(part for part in (text_at(found, "hostPath", "path"), below) if part)


def _failure(failed: Mapping[str, Any]) -> str:
    parts = (text_at(failed, "reason"), text_at(failed, "message"))
    return ": ".join(part.rstrip(".") for part in parts if part) or "the Job gives no reason"


def _quantity(value: object) -> str:
    try:
        return canonical_quantity(str(value))
    except ValueError:
        return ""
