"""Where a service's pods find the model: a volume of its ModelCache, or one of their own that they fill themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.api.v1alpha1.modelcache import CopyStatus
from app.api.v1alpha1.source import SourceSpec, named_repository
from app.contracts import runtime as contract
from app.contracts.sources import SourceType
from app.inferenceservice.observe import CacheState
from app.settings import Settings
from app.source.container import DownloadTask
from app.source.folders import find_folder


@dataclass(frozen=True)
class Store:
    """The model in a pod. Exactly one of claim, host_path and fetch is set."""

    path: str
    """Folder of the model in the volume."""
    version: str = ""
    """Of the weights in that folder, "" where the cache tells none."""
    claim: str = ""
    host_path: str = ""
    below: str = ""
    """Folder of the cache below host_path."""
    of_one_node: bool = False
    """One node at a time can mount the claim."""
    is_others: bool = False
    """The volume was not made by the cache: it is never mounted writable."""
    fetch: DownloadTask | None = None
    size: str = ""
    """Limit of the pod's own volume, "" for none."""

    @property
    def folder(self) -> str:
        return f"{contract.MODEL_STORE}/{self.path}"


def choose_copy(service: str, cache: CacheState) -> CopyStatus | None:
    """The copy of the cache that a service reads, the same at every look: services spread by their names."""
    if not cache.copies:
        return None
    number = int.from_bytes(hashlib.sha256(service.encode()).digest()[:8], "big")
    return cache.copies[number % len(cache.copies)]


def find_store(service: str, cache: CacheState | None, settings: Settings) -> Store | None:
    """`service` is namespace/name; None without a cache, or with a folder that the namespace may not use. The path of a
    cache that is not filled yet is ""."""
    if cache is None:
        return None
    version = cache.version
    if not cache.keeps:
        return Store(cache.path, version, fetch=_fetch(cache), size=cache.size)
    if cache.host_path:
        folder = find_folder(cache.host_path, settings.host_path_prefixes, service.partition("/")[0])
        return Store(cache.path, version, host_path=folder.root, below=folder.below, is_others=True) if folder else None
    copy = choose_copy(service, cache)
    path, claim = (copy.path or cache.path, copy.claim_name) if copy else (cache.path, cache.claim)
    version = version if path == cache.path else ""
    once = cache.access_mode == "ReadWriteOnce"
    return Store(path, version, claim, of_one_node=once, is_others=not cache.made(claim))


def _fetch(cache: CacheState) -> DownloadTask:
    source = read_source(cache.source)
    member = (source.member if source else None) or named_repository(cache.model_name)
    return DownloadTask(cache.model_name, source.type if source else SourceType.HUGGINGFACE, member, cache.path)


def read_source(raw: Mapping[str, Any]) -> SourceSpec | None:
    """A ModelCache's source; None where it has none or where this version cannot read it."""
    try:
        return SourceSpec.model_validate(raw) if raw else None
    except ValidationError:
        return None
