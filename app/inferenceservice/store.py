"""Where a service's pods find the model: a volume of its ModelCache, or one of their own that they fill themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes.client.models.v1_container import V1Container
from kubernetes.client.models.v1_empty_dir_volume_source import V1EmptyDirVolumeSource
from kubernetes.client.models.v1_host_path_volume_source import V1HostPathVolumeSource
from kubernetes.client.models.v1_persistent_volume_claim_volume_source import V1PersistentVolumeClaimVolumeSource
from kubernetes.client.models.v1_volume import V1Volume
from kubernetes.client.models.v1_volume_mount import V1VolumeMount
from pydantic import ValidationError

from app.api.v1alpha1.source import SourceSpec, SourceType, named_repository
from app.contracts import download
from app.contracts import runtime as contract
from app.inferenceservice.observed import CacheCopy, CacheState
from app.kube.quantity import parse_quantity
from app.settings import Settings
from app.source.container import MOUNT, Fetch, build_container
from app.source.credentials import credential_volumes
from app.source.folders import find_folder

_VOLUME = "model-store"


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
    fetch: Fetch | None = None
    size: str = ""
    """Limit of the pod's own volume, "" for none."""

    @property
    def folder(self) -> str:
        return f"{contract.MODEL_STORE}/{self.path}"


def choose_copy(service: str, cache: CacheState) -> CacheCopy | None:
    """The copy of the cache that a service reads, the same at every look: services spread by their names."""
    if not cache.copies:
        return None
    number = int.from_bytes(hashlib.sha256(service.encode()).digest()[:8], "big")
    return cache.copies[number % len(cache.copies)]


def find_store(service: str, cache: CacheState | None, settings: Settings) -> Store | None:
    """`service` is namespace/name; None without a cache, or with a folder that the namespace may not use. Call it only
    when the cache can be used."""
    if cache is None:
        return None
    version = cache.version
    if not cache.keeps:
        return Store(cache.path, version, fetch=_fetch(cache), size=cache.size)
    if cache.host_path:
        folder = find_folder(cache.host_path, settings.host_path_prefixes, service.partition("/")[0])
        return Store(cache.path, version, host_path=folder.root, below=folder.below, is_others=True) if folder else None
    copy = choose_copy(service, cache)
    path, claim = (copy.path or cache.path, copy.claim) if copy else (cache.path, cache.claim)
    version = version if path == cache.path else ""
    once = cache.access_mode == "ReadWriteOnce"
    return Store(path, version, claim, of_one_node=once, is_others=not cache.made(claim))


def _fetch(cache: CacheState) -> Fetch:
    source = read_source(cache.source)
    member = (source.member if source else None) or named_repository(cache.model_name)
    return Fetch(cache.model_name, source.type if source else SourceType.HUGGINGFACE, member, cache.path)


def read_source(raw: Mapping[str, Any]) -> SourceSpec | None:
    """A ModelCache's source; None where it has none or where this version cannot read it."""
    try:
        return SourceSpec.model_validate(raw) if raw else None
    except ValidationError:
        return None


def store_volumes(store: Store | None, read_only: bool) -> list[V1Volume]:
    """The model's volume, and the credentials where the pod fetches it."""
    if store is None:
        return []
    if store.fetch:
        own = V1EmptyDirVolumeSource(size_limit=store.size or None)
        return [V1Volume(name=_VOLUME, empty_dir=own), *credential_volumes(store.fetch.source)]
    if store.host_path:
        return [V1Volume(name=_VOLUME, host_path=V1HostPathVolumeSource(path=store.host_path, type="Directory"))]
    claim = V1PersistentVolumeClaimVolumeSource(claim_name=store.claim, read_only=_read_only(store, read_only))
    return [V1Volume(name=_VOLUME, persistent_volume_claim=claim)]


def store_mounts(store: Store | None, read_only: bool) -> list[V1VolumeMount]:
    """The model in the container that serves it."""
    if store is None:
        return []
    return [
        V1VolumeMount(
            name=_VOLUME,
            mount_path=contract.MODEL_STORE,
            sub_path=store.below or None,
            read_only=_read_only(store, read_only),
        )
    ]


def _read_only(store: Store, asked: bool) -> bool | None:
    """storage.readOnly false is for the pod's own volume and for claims that the cache made."""
    return True if asked or store.is_others else None


def fetchers(store: Store | None, settings: Settings) -> list[V1Container]:
    """Init containers: the downloader, where nothing is kept."""
    if store is None or store.fetch is None:
        return []
    mounts = [V1VolumeMount(name=_VOLUME, mount_path=MOUNT), V1VolumeMount(name="tmp", mount_path="/tmp")]
    return [build_container(store.fetch, settings, _limit(store.size), mounts)]


def _limit(size: str) -> dict[str, str]:
    """The kubelet evicts a pod whose volume outgrows its limit, and the next one would fetch the same again."""
    try:
        return {download.VOLUME_BYTES: str(int(parse_quantity(size)))}
    except ValueError:
        return {}
