"""All that a decision about a ModelCache is made from, and what follows from it directly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath

from app.api.v1alpha1.modelcache import AccessMode, ModelCacheSpec
from app.contracts.download import DownloadReport
from app.kube.conditions import parse_time
from app.metacontroller.protocol import SyncRequest
from app.modelcache.download import Download, copy_job_name, is_folder_of
from app.modelcache.observe import (
    CLAIM_KIND,
    Claim,
    Job,
    Previous,
    Record,
    find_claim,
    find_job,
    find_own_claims,
    parse_previous,
)
from app.modelcache.volume import Volume, VolumeKind
from app.settings import Settings


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
    record: Record

    @property
    def is_there(self) -> bool:
        """Whether there is a volume that a Job can mount; a claim must be seen first, for its name may be another's."""
        return not self.claim_name or self.claim is not None

    @property
    def is_bound(self) -> bool:
        return not self.claim_name or (self.claim is not None and self.claim.phase == "Bound")

    @property
    def is_read_only(self) -> bool:
        """The claim can be mounted for reading only."""
        modes = set(self.claim.access_modes) if self.claim else set()
        return modes == {"ReadOnlyMany"}

    @property
    def is_of_one_node(self) -> bool:
        """Pods of one node at a time can mount it."""
        modes = set(self.claim.access_modes) if self.claim else set()
        return bool(modes) and not modes & {AccessMode.READ_WRITE_MANY.value, "ReadOnlyMany"}

    @property
    def is_lost(self) -> bool:
        return self.claim is not None and self.claim.phase == "Lost"

    def on_this_volume(self, finished: str) -> bool:
        """Whether work that finished then is on today's volume: a claim that was made later is empty."""
        if not self.claim_name:
            return True
        if self.claim is None:
            return False
        made, end = self.claim.created, parse_time(finished)
        return made is None or end is None or made <= end

    @property
    def is_recorded(self) -> bool:
        """The previous status says that this very Job completed."""
        return self.record.completed_job == self.job_name and self.on_this_volume(self.record.last_updated)

    @property
    def is_complete(self) -> bool:
        """The download that the spec asks for is done."""
        if self.is_lost:
            return False
        if self.job:
            return self.job.complete and self.on_this_volume(self.job.finished)
        return self.is_recorded

    def is_readable(self, path: str) -> bool:
        """Complete, or an earlier download of the same content is on this volume."""
        same = bool(self.record.completed_job) and is_folder_of(self.record.path, path)
        return self.is_complete or (same and not self.is_lost and self.on_this_volume(self.record.last_updated))

    @property
    def last_report(self) -> DownloadReport | None:
        """What the completed Job's downloader said at its end; None when there is no such Job, or its word was lost."""
        done = self.job if self.is_complete else None
        return done.report if done and done.report.path else None

    @property
    def path(self) -> str:
        """Folder of the model on this volume, as it was reported last; "" = not known."""
        if self.last_report:
            return self.last_report.path
        return self.record.path if self.on_this_volume(self.record.last_updated) else ""

    @property
    def updated(self) -> str:
        """When the latest download was completed."""
        if self.is_complete and self.job and self.job.finished:
            return self.job.finished
        return self.record.last_updated


@dataclass(frozen=True)
class Facts:
    """The spec, the download it asks for, and what is there."""

    cache: str
    namespace: str
    spec: ModelCacheSpec
    size: str
    download: Download
    volume: Volume
    copies: tuple[Copy, ...]
    """The first is that which the source fills; none where nothing is kept."""
    own_claims: tuple[Claim, ...]
    """Claims made for this cache, told only where existingClaim names one of them: left out they would be deleted."""
    previous: Previous
    settings: Settings
    now: datetime

    @property
    def first(self) -> Copy | None:
        return self.copies[0] if self.copies else None

    @property
    def access_mode(self) -> str:
        """What the first claim can do, seen by those who read; "" = not known, or no claim."""
        modes = self.first.claim.access_modes if self.first and self.first.claim else ()
        if not modes:
            return ""
        many = AccessMode.READ_WRITE_MANY.value, "ReadOnlyMany"
        return (AccessMode.READ_WRITE_MANY if set(many) & set(modes) else AccessMode.READ_WRITE_ONCE).value

    @property
    def path(self) -> str:
        """Folder that holds the model: what the downloader said, or what was remembered of the same content."""
        first = self.first
        return self._checked(first.path if first and first.is_complete and first.job else self.previous.path)

    def _checked(self, path: str) -> str:
        return path if is_folder_of(path, self.download.path) else self.download.path


def gather_facts(
    request: SyncRequest, spec: ModelCacheSpec, download: Download, volume: Volume, settings: Settings, now: datetime
) -> Facts:
    """A spec without a size asks for no change of a claim that is there, whatever today's default is."""
    previous = parse_previous(request.parent.status)
    first = [_copy(request, volume, 0, download.job_name, previous)] if volume.claims else []
    there = first[0].claim.size if first and first[0].claim else ""
    facts = Facts(
        cache=request.parent.name,
        namespace=request.parent.namespace,
        spec=spec,
        size=spec.size or there or settings.cache_size,
        download=download,
        volume=volume,
        copies=tuple(first),
        own_claims=_own_claims(request, volume),
        previous=previous,
        settings=settings,
        now=now,
    )
    more = [
        _copy(request, volume, index, copy_job_name(facts.cache, download, index, facts.path), previous)
        for index in range(1, len(volume.claims))
    ]
    return replace(facts, copies=(*facts.copies, *more))


def _own_claims(request: SyncRequest, volume: Volume) -> tuple[Claim, ...]:
    named = volume.kind is VolumeKind.EXISTING_CLAIM and request.child(CLAIM_KIND, volume.claims[0])
    return find_own_claims(request) if named else ()


def _copy(request: SyncRequest, volume: Volume, index: int, job_name: str, previous: Previous) -> Copy:
    name, is_ours = volume.claims[index], volume.kind is VolumeKind.CLAIMS
    place, job = name or str(PurePosixPath(volume.host_path)), find_job(request, job_name)
    stray = job is not None and job.fills != place
    return Copy(
        index=index,
        claim_name=name,
        job_name=job_name,
        claim=find_claim(request, name, is_ours) if name else None,
        job=None if stray else job,
        stray=stray,
        record=previous.records.get(name or volume.host_path, Record()),
    )
