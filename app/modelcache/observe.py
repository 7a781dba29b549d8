"""What is there: claims, Jobs with what their downloaders report, and the previous status, as the few facts read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.contracts.download import REPORT_ANNOTATION, DownloadReport, parse_annotation
from app.kube.conditions import find_condition, parse_time
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at, texts_at, value_at
from app.kube.manifest import Manifest, annotation, last_applied
from app.kube.names import PROBLEM_ANNOTATION
from app.kube.quantity import canonical_quantity
from app.metacontroller.protocol import SyncRequest

CLAIM_KIND = "PersistentVolumeClaim.v1"
JOB_KIND = "Job.batch/v1"
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
class Record:
    """What the previous status remembers of a copy's completed download."""

    completed_job: str = ""
    last_updated: str = ""
    path: str = ""


@dataclass(frozen=True)
class Previous:
    """What the previous status remembers of the model."""

    records: Mapping[str, Record]
    """By name of the claim, or by the nodes' folder."""
    path: str
    version: str
    size_on_disk: str
    model: Mapping[str, Any]
    parameters: int
    model_unknown: str
    download: Mapping[str, Any]


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


def parse_previous(status: Mapping[str, Any] | None) -> Previous:
    known = mapping_at(status)
    return Previous(
        records={
            text_at(it, "claimName") or text_at(known, "hostPath"): _record(it) for it in mappings_at(known, "copies")
        },
        path=text_at(known, "path"),
        version=text_at(known, "version"),
        size_on_disk=_quantity(value_at(known, "sizeOnDisk")),
        model=mapping_at(known, "model"),
        parameters=count_at(known, "parameters"),
        model_unknown=text_at(known, "modelUnknown"),
        download=mapping_at(known, "download"),
    )


def _record(copy: Mapping[str, Any]) -> Record:
    return Record(text_at(copy, "completedJob"), text_at(copy, "lastUpdated"), text_at(copy, "path"))


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
