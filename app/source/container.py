"""The container that fetches a model: told everything by its environment, see app.contracts.download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from kubernetes.client.models.v1_container import V1Container
from kubernetes.client.models.v1_env_var import V1EnvVar
from kubernetes.client.models.v1_resource_requirements import V1ResourceRequirements
from kubernetes.client.models.v1_volume_mount import V1VolumeMount

from app.api.v1alpha1.source import DownloadPolicy, SourceMember
from app.contracts import download as contract
from app.contracts.sources import SourceType
from app.kube.expansion import literal
from app.kube.security import restricted_container
from app.settings import Settings
from app.source.credentials import credential_env, credential_mounts

MOUNT = "/cache"
COPY_MOUNT = "/from"
COMMAND = "download"

MEMORY = "4Gi"
"""Measured: 80 MiB for eight transfers, 220 MiB for a listing of 99,000 files. Xet buffers 1 GB at most for files above
50 GB, and pages on their way to the volume count too; what is beyond is a fault."""


@dataclass(frozen=True)
class DownloadTask:
    """What is downloaded, from where, into which folder of a volume: what the downloader reads as its Task."""

    model: str
    type: SourceType
    source: SourceMember
    path: str
    policy: DownloadPolicy = DownloadPolicy.IF_NOT_PRESENT


def source_json(source: SourceMember) -> str:
    """The source as compact JSON with sorted keys, without the name of its Secret."""
    said = source.model_dump(by_alias=True, exclude_none=True, exclude={source.secret_field})
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


def build_container(
    task: DownloadTask, settings: Settings, extra: Mapping[str, str], mounts: Sequence[V1VolumeMount]
) -> V1Container:
    """`extra` are further variables of the contract, `mounts` the volumes at MOUNT and /tmp, perhaps at COPY_MOUNT."""
    return V1Container(
        name="downloader",
        image=settings.downloader_image,
        image_pull_policy=settings.image_pull_policy,
        command=[COMMAND],
        env=[*_plain_env(task, settings, extra), *credential_env(task.type, task.source, settings.token_secret)],
        resources=V1ResourceRequirements(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": MEMORY}),
        # The downloader writes its last words there; the log's end is for what ends it without warning.
        termination_message_policy="FallbackToLogsOnError",
        security_context=restricted_container(),
        volume_mounts=[*mounts, *credential_mounts(task.type, task.source)],
    )


def _plain_env(task: DownloadTask, settings: Settings, extra: Mapping[str, str]) -> list[V1EnvVar]:
    secret = task.source.secret
    values = {
        **settings.downloader_env,
        contract.MODEL_NAME: task.model,
        contract.SOURCE_TYPE: task.type.value,
        contract.SOURCE: source_json(task.source),
        contract.VOLUME: MOUNT,
        contract.PATH: task.path,
        contract.POLICY: task.policy.value,
        **({} if settings.keep_revisions is None else {contract.KEEP: str(settings.keep_revisions)}),
        **({contract.SECRET: secret} if secret else {}),
        **({contract.CLUSTER_CIDRS: ",".join(settings.cluster_cidrs)} if settings.cluster_cidrs else {}),
        **_allowed(settings),
        **extra,
    }
    # as it is: a URL with $(NAME) in it could otherwise read the token
    return [V1EnvVar(name=name, value=literal(value)) for name, value in values.items()]


def _allowed(settings: Settings) -> dict[str, str]:
    hosts = ",".join(settings.downloader_allowed_hosts)
    return {contract.ALLOWED_HOSTS: hosts} if hosts else {}
