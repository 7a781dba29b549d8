"""How the download gets its credentials: by reference only, for no hook ever sees a Secret.

All references are optional: a pod that cannot start for want of a Secret tells nobody, while the downloader names what
is missing.
"""

from __future__ import annotations

from kubernetes.client.models.v1_env_var import V1EnvVar
from kubernetes.client.models.v1_env_var_source import V1EnvVarSource
from kubernetes.client.models.v1_key_to_path import V1KeyToPath
from kubernetes.client.models.v1_secret_key_selector import V1SecretKeySelector
from kubernetes.client.models.v1_secret_volume_source import V1SecretVolumeSource
from kubernetes.client.models.v1_volume import V1Volume
from kubernetes.client.models.v1_volume_mount import V1VolumeMount

from app.api.v1alpha1.source import SourceMember
from app.contracts.sources import BY_TYPE, SourceType

_MOUNT = "/var/run/secrets/inference.ai"
_READABLE_BY_GROUP = 0o440


def credential_env(kind: SourceType, source: SourceMember, default_secret: str) -> list[V1EnvVar]:
    """Environment variables that refer to the source's Secret, or to the operator's where it names none and may."""
    credentials = BY_TYPE[kind].credentials
    secret = source.secret or (default_secret if credentials.has_default else "")
    if not secret:
        return []
    values = [_from_secret(variable, secret, key) for variable, key in credentials.values.items()]
    files = [V1EnvVar(name=variable, value=f"{_mount(kind)}/{key}") for variable, key in credentials.files.items()]
    return [*values, *files]


def credential_volumes(kind: SourceType, source: SourceMember) -> list[V1Volume]:
    """Where a library reads a file, its Secret is a volume."""
    files = BY_TYPE[kind].credentials.files
    if not files or not source.secret:
        return []
    secret = V1SecretVolumeSource(
        secret_name=source.secret,
        default_mode=_READABLE_BY_GROUP,
        optional=True,
        items=[V1KeyToPath(key=key, path=key) for key in files.values()],
    )
    return [V1Volume(name=f"{kind}-credentials", secret=secret)]


def credential_mounts(kind: SourceType, source: SourceMember) -> list[V1VolumeMount]:
    return [
        V1VolumeMount(name=volume.name, mount_path=_mount(kind), read_only=True)
        for volume in credential_volumes(kind, source)
    ]


def _mount(kind: SourceType) -> str:
    return f"{_MOUNT}/{kind}"


def _from_secret(variable: str, secret: str, key: str) -> V1EnvVar:
    selector = V1SecretKeySelector(name=secret, key=key, optional=True)
    return V1EnvVar(name=variable, value_from=V1EnvVarSource(secret_key_ref=selector))
