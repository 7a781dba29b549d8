"""Where a cache keeps its model: claims of its own, a claim or a folder that is there already, or nowhere.

One ReadWriteMany volume serves all pods, so there is one copy. ReadWriteOnce volumes serve the pods of one node each;
of those there are as many as `caching.replicas` says, and all but the first are filled from the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import PurePosixPath

from app.api.v1alpha1.modelcache import AccessMode, ModelCacheSpec
from app.modelcache.names import claim_name


class VolumeKind(Enum):
    CLAIMS = auto()
    EXISTING_CLAIM = auto()
    HOST_PATH = auto()
    NONE = auto()


@dataclass(frozen=True)
class Volume:
    """The volumes of a cache."""

    kind: VolumeKind
    claims: tuple[str, ...] = ()
    """Their names, the first copy's first; one "" where the copy is no claim."""
    host_path: str = ""


def plan_volume(cache: str, spec: ModelCacheSpec) -> Volume:
    """The volumes that a spec asks for."""
    if not spec.caching.enabled:
        return Volume(VolumeKind.NONE)
    if spec.host_path:
        return Volume(VolumeKind.HOST_PATH, ("",), spec.host_path)
    if spec.existing_claim:
        return Volume(VolumeKind.EXISTING_CLAIM, (spec.existing_claim,))
    copies = spec.caching.replicas if spec.access_mode is AccessMode.READ_WRITE_ONCE else 1
    return Volume(VolumeKind.CLAIMS, tuple(claim_name(cache, index) for index in range(copies)))


def is_allowed(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a folder is one of the prefixes or below one; whole names are compared, and "/" allows nothing."""
    folder = PurePosixPath(path)
    roots = (PurePosixPath(prefix) for prefix in prefixes if prefix.strip("/"))
    return ".." not in folder.parts and any(folder == root or root in folder.parents for root in roots)
