"""Settings of the operator: one frozen object, read from the environment once at start.

Every variable is `INFERENCE_` and the field's name, for example INFERENCE_LEADER_IMAGE. They are defaults for what a
service is built from when it is built; changing them changes no workload that already runs.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.api.schema import Duration, Quantity
from app.api.v1alpha1 import gpurequest
from app.contracts.sources import SECRET_KEYS
from app.kube.hosts import parse_host, parse_network
from app.log import Format, Level

VERSION = "v0.1.0"
PREFIX = "INFERENCE_"
NAMESPACE_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"://[^/@]*:(?!\d+(/|$)).*@|://[^/?#]*@")
_SECRET_NAME = re.compile("(TOKEN|PASSWORD|PASSWD|SECRET|ACCESS_KEY|API_KEY)$", re.IGNORECASE)
_SECRET_VARIABLES = frozenset(name for keys in SECRET_KEYS.values() for name in keys)


class Toleration(gpurequest.Toleration):
    """The same as in a GPURequest; one without a key, which puts up with every taint, is refused."""

    model_config = ConfigDict(extra="forbid")

    key: str


_LABEL = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
"""Name of a label or of a resource."""
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""Of a StorageClass or Secret."""
_ARCHITECTURE = re.compile(r"gfx[0-9a-z-]+")
_HOST = re.compile(r"[A-Za-z0-9.*-]+")
_VARIABLES = re.compile(r"[A-Za-z_*][A-Za-z0-9_*]*")


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
        description="Namespace of these pods. Whoever makes pods there is believed about devices. Empty: they are not "
        "asked.",
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
    cluster_cidrs: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Ranges of the cluster's pods and Services, to which no download may connect, comma-separated, for "
        'example "10.244.0.0/16,10.96.0.0/12". Empty: only loopback, link-local and metadata addresses are refused.',
    )
    downloader_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts that downloads may connect to wherever they are, each with or without a port, "
        'comma-separated, for example "minio.storage.svc:9000".',
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
    client_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Namespaces whose pods may reach the services' API port, beside a service's own, comma-separated, "
        'for example "ingress-nginx,monitoring". Empty: everybody may.',
    )
    ingress_annotations: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "cert-manager.io/cluster-issuer",
            "cert-manager.io/issuer",
            "cert-manager.io/issuer-kind",
            "cert-manager.io/issuer-group",
            "kubernetes.io/tls-acme",
            "nginx.ingress.kubernetes.io/proxy-body-size",
            "nginx.ingress.kubernetes.io/proxy-buffer*",
            "nginx.ingress.kubernetes.io/proxy-http-version",
            "nginx.ingress.kubernetes.io/proxy-next-upstream*",
            "nginx.ingress.kubernetes.io/proxy-request-buffering",
            "nginx.ingress.kubernetes.io/proxy-*timeout",
            "nginx.ingress.kubernetes.io/client-body-buffer-size",
            "nginx.ingress.kubernetes.io/ssl-redirect",
            "nginx.ingress.kubernetes.io/force-ssl-redirect",
            "nginx.ingress.kubernetes.io/limit-*",
            "haproxy.org/timeout-*",
            "haproxy-ingress.github.io/timeout-*",
            "haproxy-ingress.github.io/proxy-body-size",
            "haproxy-ingress.github.io/ssl-redirect",
            "alb.ingress.kubernetes.io/healthcheck-*",
        ),
        description="Annotations that users may give their Ingresses, comma-separated, * for any characters. Those "
        "that hold configuration of the ingress controller (snippets) pass only under their whole names.",
    )
    ingress_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*",),
        description='Host names that users may give their Ingresses, comma-separated, for example "*.{namespace}.'
        'example.com": * stands for a label or a part of it, {namespace} for that of the object; * alone is any host.',
    )
    allowed_variables: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Variables that turn data into code, such as LD_PRELOAD, and may be given in vllm.envVars all the "
        "same; comma-separated, * for any characters. Empty: none.",
    )
    trust_remote_code: bool = Field(
        True, description="Whether vLLM may run code that comes with a model or a volume (trust_remote_code, plugins)."
    )
    start_budget: Duration = Field(
        "30m",
        description="How long a pod may take to load its model; ROCm compiles for minutes at a first start.",
    )
    api_docs: bool = Field(
        False,
        description="Whether the hook service describes its interface: /docs, /redoc and /openapi.json.",
    )
    drain: Duration = Field("60s", description="How long a stopping pod may finish running requests.")

    log_level: Level = Field(
        "info", description="Least severe lines of the log that are written: debug, info, warning or error."
    )
    log_format: Format = Field(
        "auto", description="json: an object a line. text: for people. auto: json in a pod, text on a terminal."
    )

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
            if name in _SECRET_VARIABLES or _SECRET_NAME.search(name):
                raise ValueError(f"{name} holds a secret: name a Secret in the ModelCache's source instead")
            if _has_credentials(name, value[name]):
                raise ValueError(
                    f"{name} holds a user or password, which everybody who may read Jobs would see: use an address "
                    "without one, for example a proxy that lets the cluster's nodes through"
                )
        return value

    @field_validator("cluster_cidrs")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(parse_network(it)) for it in value)

    @field_validator("downloader_allowed_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for it in value:
            parse_host(it)
        return value

    @field_validator("exporter_namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        if value and not re.fullmatch(NAMESPACE_PATTERN, value):
            raise ValueError(f"{value!r} is no name of a namespace: write for example kube-amd-gpu")
        return value

    @field_validator("client_namespaces")
    @classmethod
    def _namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(value, re.compile(NAMESPACE_PATTERN), "name of a namespace", "ingress-nginx")

    @field_validator("gpu_architectures")
    @classmethod
    def _architectures(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(value, _ARCHITECTURE, "architecture of a GPU", "gfx942")

    @field_validator("allowed_variables")
    @classmethod
    def _variable_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(value, _VARIABLES, "name of an environment variable", "LD_PRELOAD or OMPI_*")

    @field_validator("ingress_hosts")
    @classmethod
    def _host_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for it in value:
            if not _HOST.fullmatch(it.replace("{namespace}", "x")):
                raise ValueError(f"{it!r} is no host: write for example *.example.com or *.{{namespace}}.example.com")
        return value

    @field_validator("host_path_prefixes")
    @classmethod
    def _folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for it in value:
            if not it.startswith("/") or not it.strip("/") or ".." in it.split("/"):
                raise ValueError(f"{it!r} is no folder to allow: write its whole path, for example /mnt/models")
        return value

    @field_validator("storage_class", "token_secret")
    @classmethod
    def _object_name(cls, value: str) -> str:
        if value and not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no name of an object: write for example fast-ssd")
        return value

    @field_validator("gpu_resource")
    @classmethod
    def _resource(cls, value: str) -> str:
        if "/" not in value or not _LABEL.fullmatch(value):
            raise ValueError(f"{value!r} is no name of a resource: write for example amd.com/gpu")
        return value

    @field_validator("declared_product_label", "zone_label", "block_label", "rack_label")
    @classmethod
    def _label(cls, value: str) -> str:
        if value and not _LABEL.fullmatch(value):
            raise ValueError(f"{value!r} is no label: write for example example.com/name")
        return value

    @field_validator("node_selector")
    @classmethod
    def _labels(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _LABEL.fullmatch(name) or not _LABEL_VALUE.fullmatch(text):
                raise ValueError(f"{name}={text} is no label that a node can have")
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

    @field_validator(
        "supplemental_groups", "gpu_architectures", "host_path_prefixes", "cluster_cidrs", "downloader_allowed_hosts",
        "client_namespaces", "ingress_annotations", "ingress_hosts", "allowed_variables", mode="before",
    )  # fmt: skip
    @classmethod
    def _items(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _each(values: tuple[str, ...], pattern: re.Pattern[str], what: str, example: str) -> tuple[str, ...]:
    for it in values:
        if not pattern.fullmatch(it):
            raise ValueError(f"{it!r} is no {what}: write for example {example}")
    return values


def _has_credentials(name: str, value: str) -> bool:
    """Whether a URL has a user in it; proxies may be written without a scheme."""
    if name.upper().endswith("_PROXY") and name.upper() != "NO_PROXY" and "@" in value:
        return True
    # Quotes, / and ? may stand in a password: only white space ends a URL for sure.
    return any("@" in url and _USER.search(url) is not None for url in value.split())


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
