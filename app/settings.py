"""Settings of the operator: one frozen object, read from the environment once at start.

Every variable is `INFERENCE_` and the field's name, for example INFERENCE_LEADER_IMAGE. They are defaults for what a
service is built from when it is built; changing them changes no workload that already runs.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.crd import Duration, Quantity
from app.kube.download import SECRET_KEYS

VERSION = "v0.1.0"
PREFIX = "INFERENCE_"
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_SECRET_VARIABLES = frozenset(name for keys in SECRET_KEYS.values() for name in keys)


class Toleration(BaseModel):
    """A toleration as in a pod spec."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class SettingsError(Exception):
    """Settings that cannot be used; the message names every variable that is wrong, and is all that is shown."""


class Settings(BaseSettings):
    """Defaults for everything the operator builds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    leader_image: str = Field(f"inference-leader:{VERSION}", description="Image of leaders and single-node pods.")
    worker_image: str = Field(f"inference-worker:{VERSION}", description="Image of the other pods of a group.")
    downloader_image: str = Field(f"model-downloader:{VERSION}", description="Image of a ModelCache's download Job.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="Pull policy of the images above."
    )
    gpu_resource: str = Field("amd.com/gpu", description="Resource name under which nodes offer GPUs.")
    gpu_architectures: Annotated[tuple[str, ...], NoDecode] = Field(
        ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200", "gfx1201"),
        description="GPU architectures that the images above were built for, comma-separated: other GPUs are left "
        "out. The default is that of vLLM's ROCm image.",
    )
    node_selector: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description='Labels a GPU node must have, for example "accelerator=amd-gpu". Nodes that have them all are '
        "taken for GPU nodes, also where nothing else tells so.",
    )
    declared_product_label: str = Field(
        "inference.ai/gpu-declared-product",
        description="Label by which an administrator tells the product of nodes that AMD's node labeller does not "
        'label, for example "MI300X".',
    )
    exporter_selector: str = Field(
        "app.kubernetes.io/name=metrics-exporter",
        description="Labels of the pods of AMD's device-metrics-exporter, which tell the agent which devices a pod "
        "holds; as `kubectl get --selector` takes them. Empty: they are not asked.",
    )
    exporter_namespace: str = Field(
        "",
        description="Namespace of these pods, whose word on devices is believed; empty: any, so also that of a pod "
        "that somebody else has given the same label.",
    )
    exporter_port: int = Field(5000, ge=1, le=65535, description="Port of these pods' /metrics.")
    zone_label: str = Field("topology.kubernetes.io/zone", description="Label of a node's zone.")
    block_label: str = Field(
        "cloud.provider.com/topology-block", description="Label of a node's block: racks that share a fast network."
    )
    rack_label: str = Field("cloud.provider.com/topology-rack", description="Label of a node's rack.")
    tolerations: Annotated[tuple[Toleration, ...], NoDecode] = Field(
        (Toleration(key="amd.com/gpu"),), description="Tolerations of GPU pods, as a JSON list."
    )
    supplemental_groups: Annotated[tuple[int, ...], NoDecode] = Field(
        (44, 109),
        description="Groups of /dev/kfd and /dev/dri on the nodes (video, render): without them a non-root pod "
        'sees no GPU. Comma-separated, for example "44,109".',
    )
    sharing: Literal["shared", "exclusive"] = Field(
        "shared", description="Whether a service shares nodes with other services when its spec does not say."
    )
    pools: Literal["required", "none"] = Field(
        "required",
        description="required: a service gets pods only where its GPUPool grants GPUs. none: this cluster has no "
        "GPUPools, so services go by their specs alone.",
    )
    storage_class: str = Field("", description="StorageClass of caches that name none; empty: the cluster's default.")
    cache_size: Quantity = Field("100Gi", description="Size of a ModelCache made for spec.model.source.")
    downloader_env: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Environment variables of every download, as a JSON object: a mirror of the Hugging Face Hub, a "
        'proxy, for example {"HF_ENDPOINT": "https://hub.example", "HTTPS_PROXY": "http://proxy.example:3128"}. Tokens '
        "and keys belong in Secrets.",
    )
    token_secret: str = Field(
        "",
        description="Secret, in the namespace of a ModelCache, whose key `token` holds an access token for the Hugging "
        "Face Hub; for caches that name none, and only where it exists. Empty: none.",
    )
    keep_revisions: Annotated[int | None, Field(ge=0)] = Field(
        None,
        description="Finished folders of a model that stay on its volume beside the latest. Empty: all, for what runs "
        "reads an earlier one until it is edited or replanned, and could not start again without it.",
    )
    host_path_prefixes: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Folders of the nodes below which a ModelCache may use a hostPath, comma-separated, for example "
        '"/mnt/models". Empty: none.',
    )
    start_budget: Duration = Field(
        "30m",
        description="How long a pod may take to load its model; ROCm compiles for minutes at a first start.",
    )
    drain: Duration = Field("60s", description="How long a stopping pod may finish running requests.")

    @property
    def pools_required(self) -> bool:
        return self.pools == "required"

    @field_validator("keep_revisions", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("tolerations", "downloader_env", mode="before")
    @classmethod
    def _json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"this is not JSON: {error}") from None

    @field_validator("downloader_env")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an environment variable")
            if name.startswith(PREFIX):
                raise ValueError(f"{name}: the operator sets variables of that prefix itself")
            if name in _SECRET_VARIABLES:
                raise ValueError(f"{name} holds a secret: name a Secret in the ModelCache's source instead")
        return value

    @field_validator("node_selector", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if any(not separator for _, separator, _ in pairs):
            raise ValueError(f"{value!r}: write label=value, separated by commas")
        return {key.strip(): text.strip() for key, _, text in pairs}

    @field_validator("supplemental_groups", "gpu_architectures", "host_path_prefixes", mode="before")
    @classmethod
    def _items(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def read_settings() -> Settings:
    """Settings of this process's environment. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(describe(error)) from None


def describe(error: ValidationError) -> str:
    """Every variable that is refused, and why; without its value, which may be long or private."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{_variable(*it['loc'])}: {it['msg'].removeprefix('Value error, ')}" for it in found)


def _variable(field: str | int, *path: str | int) -> str:
    """INFERENCE_TOLERATIONS[0].key, of the field's name and where in it."""
    return PREFIX + str(field).upper() + "".join(f"[{it}]" if isinstance(it, int) else f".{it}" for it in path)
