"""What is there: the claim, the current download's Job and the previous status, as the few facts that are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from app.hook import SyncRequest
from app.kube.conditions import find_condition, parse_time
from app.kube.lenient import mapping_at, mappings_at, text_at, value_at
from app.kube.manifest import Manifest, annotation, last_applied
from app.kube.names import PROGRESS_ANNOTATION, SIZE_ANNOTATION
from app.kube.quantity import canonical_quantity

CLAIM_KIND = "PersistentVolumeClaim.v1"
JOB_KIND = "Job.batch/v1"

_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?%?", re.ASCII)


@dataclass(frozen=True)
class Claim:
    """The PersistentVolumeClaim; "" is not known."""

    applied: Manifest
    phase: str
    size: str
    capacity: str
    storage_class: str
    access_modes: tuple[str, ...]
    created: datetime | None


@dataclass(frozen=True)
class Job:
    """The Job of the current download."""

    applied: Manifest
    complete: bool
    failure: str
    active: bool
    progress: int
    size_on_disk: str
    finished: str

    @property
    def is_over(self) -> bool:
        return self.complete or bool(self.failure)


@dataclass(frozen=True)
class Previous:
    """What the previous status remembers of a completed download."""

    completed_job: str
    path: str
    last_updated: str
    size_on_disk: str


@dataclass(frozen=True)
class Observed:
    claim: Claim | None
    job: Job | None
    previous: Previous


def claim_name(cache: str) -> str:
    return f"{cache}-cache"


def observe(request: SyncRequest, job_name: str) -> Observed:
    """The facts of one sync."""
    claim = request.child(CLAIM_KIND, claim_name(request.parent.name))
    job = request.child(JOB_KIND, job_name)
    return Observed(
        claim=_claim(claim) if claim else None,
        job=_job(job) if job else None,
        previous=_previous(request.parent.status),
    )


def _claim(claim: Manifest) -> Claim:
    return Claim(
        applied=last_applied(claim),
        phase=text_at(claim, "status", "phase"),
        size=_quantity(value_at(claim, "spec", "resources", "requests", "storage")),
        capacity=_quantity(value_at(claim, "status", "capacity", "storage")),
        storage_class=text_at(claim, "spec", "storageClassName"),
        access_modes=_texts(value_at(claim, "spec", "accessModes")),
        created=parse_time(text_at(claim, "metadata", "creationTimestamp")),
    )


def _job(job: Manifest) -> Job:
    conditions = [c for c in mappings_at(job, "status", "conditions") if c.get("status") == "True"]
    complete, failed = find_condition(conditions, "Complete"), find_condition(conditions, "Failed")
    end = complete or failed
    return Job(
        applied=last_applied(job),
        complete=bool(complete),
        failure="" if complete or not failed else _failure(failed),
        active=bool(value_at(job, "status", "active")),
        progress=_percent(annotation(job, PROGRESS_ANNOTATION)),
        size_on_disk=_quantity(annotation(job, SIZE_ANNOTATION)),
        finished=text_at(job, "status", "completionTime") or text_at(end, "lastTransitionTime"),
    )


def _failure(failed: Mapping[str, Any]) -> str:
    parts = (text_at(failed, "reason"), text_at(failed, "message"))
    return ": ".join(part.rstrip(".") for part in parts if part) or "the Job gives no reason"


def _previous(status: Mapping[str, Any] | None) -> Previous:
    known = mapping_at(status)
    return Previous(
        completed_job=text_at(known, "completedJob"),
        path=text_at(known, "path"),
        last_updated=text_at(known, "lastUpdated"),
        size_on_disk=_quantity(value_at(known, "sizeOnDisk")),
    )


def _percent(text: str) -> int:
    return min(int(Decimal(text.rstrip("%"))), 100) if _PERCENT.fullmatch(text) else 0


def _quantity(value: object) -> str:
    try:
        return canonical_quantity(str(value))
    except ValueError:
        return ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
