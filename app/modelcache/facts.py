"""All that a decision about a ModelCache is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.api.v1alpha1.modelcache import ModelCacheSpec, ModelCacheStatus
from app.metacontroller.protocol import SyncRequest
from app.modelcache.completion import Completion, find_completion
from app.modelcache.download import Download, copy_job_name, is_folder_of
from app.modelcache.observe import CLAIM_KIND, Claim, Copy, find_copy, find_own_claims
from app.modelcache.volume import Volume, VolumeKind
from app.settings import Settings


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
    completions: tuple[Completion, ...]
    """One a copy."""
    path: str
    """Folder that holds the model: what the downloader said, or what was remembered of the same content."""
    own_claims: tuple[Claim, ...]
    """Claims made for this cache, told only where existingClaim names one of them: left out they would be deleted."""
    previous: ModelCacheStatus
    settings: Settings
    now: datetime

    @property
    def first(self) -> Copy | None:
        return self.copies[0] if self.copies else None

    @property
    def first_done(self) -> Completion | None:
        return self.completions[0] if self.completions else None


def gather_facts(
    request: SyncRequest, spec: ModelCacheSpec, download: Download, volume: Volume, settings: Settings, now: datetime
) -> Facts:
    """A spec without a size asks for no change of a claim that is there, whatever today's default is."""
    cache, previous = request.parent.name, ModelCacheStatus.read(request.parent.status)
    copies = [find_copy(request, volume, 0, download.job_name, previous)] if volume.claims else []
    completions = [find_completion(copy, download.path) for copy in copies]
    path = _path(copies, completions, download, previous)
    for index in range(1, len(volume.claims)):
        # made of the first copy: what that holds is part of their Jobs' names
        copies.append(find_copy(request, volume, index, copy_job_name(cache, download, index, path), previous))
        completions.append(find_completion(copies[-1], download.path))
    there = copies[0].claim.size if copies and copies[0].claim else ""
    return Facts(
        cache=cache,
        namespace=request.parent.namespace,
        spec=spec,
        size=spec.size or there or settings.cache_size,
        download=download,
        volume=volume,
        copies=tuple(copies),
        completions=tuple(completions),
        path=path,
        own_claims=_own_claims(request, volume),
        previous=previous,
        settings=settings,
        now=now,
    )


def _path(copies: list[Copy], done: list[Completion], download: Download, previous: ModelCacheStatus) -> str:
    reported = bool(copies) and copies[0].job is not None and done[0].complete
    path = done[0].path if reported else previous.path or ""
    return path if is_folder_of(path, download.path) else download.path


def _own_claims(request: SyncRequest, volume: Volume) -> tuple[Claim, ...]:
    named = volume.kind is VolumeKind.EXISTING_CLAIM and request.child(CLAIM_KIND, volume.claims[0])
    return find_own_claims(request) if named else ()
