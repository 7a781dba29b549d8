"""GPUNode: compact facts of one AMD node. Heartbeats of Nodes stop here: they change no GPUNode."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from app.api import bounds
from app.api.bounds import MapBounds
from app.api.object import Object
from app.api.schema import Column, Kind, Model, Time
from app.api.v1alpha1.gpurequest import Key, Name, Text, Word

PRODUCT_LABEL = "inference.ai/gpu-product"
"""Label on Nodes: key of the accelerator catalogue, for example MI300X; pods select it."""
PARTITION_LABEL = "inference.ai/gpu-partition"
"""Label on Nodes: partition mode of their GPUs, for example cpx_nps4; absent where several, or none is told."""
UNKNOWN_PARTITION = "unknown"
"""Value of that label, and mode of a resource, where the signs of partitioning contradict each other."""

# Under the naming strategy "mixed" AMD's device plugin offers one resource a partition mode. Other AMD devices, such as
# network cards and FPGAs, are amd.com/ too.
_GPU_RESOURCE = re.compile(r"amd\.com/(?:gpu|(?P<mode>[sdtqc]px_nps[1-8]))")
GPU_RESOURCES = "amd.com/gpu, or amd.com/ and a partition mode such as cpx_nps4"
"""The same in words."""


def is_gpu_resource(name: str, configured: str) -> bool:
    """Whether nodes offer GPUs or partitions of GPUs under this name; `configured` is Settings.gpu_resource."""
    return name == configured or _GPU_RESOURCE.fullmatch(name) is not None


def resource_mode(name: str) -> str | None:
    """The partition mode that a resource name tells."""
    found = _GPU_RESOURCE.fullmatch(name)
    return found["mode"] if found else None


GPUs = Annotated[int, Field(ge=0, le=bounds.GROUP_GPUS)]
NODE_LABELS = 1024
"""Labels of a Node that its GPUNode repeats; further ones are left out."""
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Source(StrEnum):
    """Which of a node's signs told the product."""

    DEVICE_ID = "device-id"
    PRODUCT_NAME = "product-name"
    DECLARED = "declared"
    UNKNOWN = "unknown"


class Taint(Model):
    """A taint of the Node."""

    key: Key = Field(description="Key.")
    value: Word | None = Field(None, description="Value.")
    effect: Effect = Field(description="Effect.")


class Resource(Model):
    """GPUs that the node offers under one resource name."""

    name: Key = Field(description="Resource name, for example amd.com/gpu or amd.com/cpx_nps4.")
    gpus: GPUs = Field(description="Allocatable GPUs, or partitions of GPUs; unhealthy ones are not among them.")
    capacity: GPUs = Field(description="GPUs that the device plugin found, unhealthy ones too.")
    partition: Word | None = Field(
        None, description="Partition mode, for example spx_nps1; absent: not told; unknown: the signs contradict."
    )
    memory_bytes: int | None = Field(
        None, ge=0, le=bounds.NUMBER, description="Memory of one GPU or partition in bytes."
    )


class GPUNodeSpec(Model):
    """What the Node tells about its GPUs."""

    product: Word | None = Field(None, description="Key in the accelerator catalogue, for example MI300X.")
    source: Source = Field(Source.UNKNOWN, description="What told the product.")
    gfx: Word | None = Field(None, description="Architecture, for example gfx942.")
    summary: Text | None = Field(None, description="The GPUs in a few words, for example 7 of 8 spx_nps1.")
    resources: list[Resource] = Field(
        default_factory=list, max_length=bounds.ENTRIES, description="GPUs by resource name."
    )
    island: int | None = Field(
        None, ge=1, le=bounds.GROUP_GPUS, description="GPUs that XGMI links directly, each with each."
    )
    zone: Word | None = Field(None, description="Zone.")
    block: Word | None = Field(None, description="Block: racks that share a fast network.")
    rack: Word | None = Field(None, description="Rack.")
    labels: Annotated[dict[str, Word], MapBounds(entries=NODE_LABELS)] = Field(
        {}, description="Labels of the Node that selectors may ask for."
    )
    taints: list[Taint] = Field(default_factory=list, max_length=bounds.ENTRIES, description="Taints of the Node.")
    not_ready_since: Time | None = Field(None, description="When the Node stopped being Ready; absent: it is Ready.")
    unhealthy_gpus: int | None = Field(
        None, ge=1, le=bounds.NUMBER, description="GPUs that AMD's health check or plugin took out."
    )
    contradictions: list[Text] = Field(
        [], max_length=bounds.ENTRIES, description="Where labels and allocatable GPUs do not agree."
    )


class ServiceUse(Model):
    """GPUs of one node that the pods of one InferenceService hold."""

    namespace: Name = Field(description="Namespace of the service.")
    name: Name = Field(description="Name of the service.")
    gpus: int = Field(ge=1, le=bounds.NUMBER, description="GPUs held.")
    resource: Key = Field(description="Resource name of those GPUs.")


class ForeignUse(Model):
    """GPUs of one node that other pods hold."""

    gpus: int = Field(ge=1, le=bounds.NUMBER, description="GPUs held.")
    resource: Key = Field(description="Resource name of those GPUs.")


class GPUNodeStatus(Model):
    """What is in use, written by the agent."""

    observed: bool | None = Field(None, description="True once the agent has counted this node.")
    used: int | None = Field(None, ge=0, description="GPUs in use by anybody.")
    services: list[ServiceUse] = Field(
        default_factory=list, description="Use by InferenceServices, by namespace and name."
    )
    others: list[ForeignUse] = Field(default_factory=list, description="Use by all other pods.")


class GPUNode(Object):
    """The object as it is read."""

    spec: GPUNodeSpec
    status: GPUNodeStatus = Field(default_factory=GPUNodeStatus)


KIND = Kind(
    name="GPUNode",
    plural="gpunodes",
    short_names=("gpun",),
    categories=("amd-gpus",),
    spec=GPUNodeSpec,
    status=GPUNodeStatus,
    scope="Cluster",
    description="GPUNode holds the facts of one AMD GPU node. The operator writes it; do not edit it.",
    columns=(
        Column("Product", ".spec.product", "AMD product."),
        Column("GPUs", ".spec.summary", "Allocatable GPUs and their partition modes."),
        Column("Used", ".status.used", "GPUs in use by anybody.", "integer"),
        Column("Zone", ".spec.zone", "Zone."),
        Column("Rack", ".spec.rack", "Rack."),
        Column("NotReadySince", ".spec.notReadySince", "When the Node stopped being Ready.", "date"),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
        Column("Contradictions", ".spec.contradictions", "Labels against allocatable GPUs.", priority=1),
    ),
)
