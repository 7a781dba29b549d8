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

from app.api.v1alpha1.source import GCSSource, HuggingFaceSource, S3Source, SourceMember

GCS_MOUNT = "/var/run/secrets/inference.ai/gcs"
GCS_KEY = "key.json"

_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_READABLE_BY_GROUP = 0o440


def secret_of(source: SourceMember) -> str:
    """The Secret that the source names, or ""."""
    return getattr(source, "token_secret", None) or getattr(source, "credentials_secret", None) or ""


def credential_env(source: SourceMember, token_secret: str) -> list[V1EnvVar]:
    """Environment variables that refer to the source's Secret; `token_secret` is for the Hub where it names none."""
    match source:
        case HuggingFaceSource(token_secret=secret) if secret or token_secret:
            return [_from_secret("HF_TOKEN", secret or token_secret, "token")]
        case S3Source(credentials_secret=str(secret)):
            return [_from_secret(name, secret, name) for name in _AWS]
        case GCSSource(credentials_secret=str()):
            return [V1EnvVar(name="GOOGLE_APPLICATION_CREDENTIALS", value=f"{GCS_MOUNT}/{GCS_KEY}")]
        case _:
            return []


def credential_volumes(source: SourceMember) -> list[V1Volume]:
    """Google's libraries read a key file, so its Secret is a volume."""
    if not isinstance(source, GCSSource) or not source.credentials_secret:
        return []
    secret = V1SecretVolumeSource(
        secret_name=source.credentials_secret,
        default_mode=_READABLE_BY_GROUP,
        optional=True,
        items=[V1KeyToPath(key=GCS_KEY, path=GCS_KEY)],
    )
    return [V1Volume(name="gcs-credentials", secret=secret)]


def credential_mounts(source: SourceMember) -> list[V1VolumeMount]:
    return [
        V1VolumeMount(name=volume.name, mount_path=GCS_MOUNT, read_only=True) for volume in credential_volumes(source)
    ]


def _from_secret(variable: str, secret: str, key: str) -> V1EnvVar:
    selector = V1SecretKeySelector(name=secret, key=key, optional=True)
    return V1EnvVar(name=variable, value_from=V1EnvVarSource(secret_key_ref=selector))
