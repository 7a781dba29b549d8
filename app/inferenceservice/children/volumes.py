"""The model's volume in a pod, and the container that fills it where nothing is kept."""

from __future__ import annotations

from kubernetes.client.models.v1_container import V1Container
from kubernetes.client.models.v1_empty_dir_volume_source import V1EmptyDirVolumeSource
from kubernetes.client.models.v1_host_path_volume_source import V1HostPathVolumeSource
from kubernetes.client.models.v1_persistent_volume_claim_volume_source import V1PersistentVolumeClaimVolumeSource
from kubernetes.client.models.v1_volume import V1Volume
from kubernetes.client.models.v1_volume_mount import V1VolumeMount

from app.contracts import download
from app.contracts import runtime as contract
from app.inferenceservice.model_volume import Store
from app.kube.quantity import parse_quantity
from app.settings import Settings
from app.source.container import MOUNT, build_container
from app.source.credentials import credential_volumes

_VOLUME = "model-store"


def store_volumes(store: Store | None, read_only: bool) -> list[V1Volume]:
    """The model's volume, and the credentials where the pod fetches it."""
    if store is None:
        return []
    if store.fetch:
        own = V1EmptyDirVolumeSource(size_limit=store.size or None)
        return [V1Volume(name=_VOLUME, empty_dir=own), *credential_volumes(store.fetch.type, store.fetch.source)]
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
