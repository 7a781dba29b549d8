"""GPURequest: what an InferenceService needs. It changes only when the need does, so load never wakes a pool."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.api import bounds
from app.api.bounds import MapBounds
from app.api.object import Object
from app.api.schema import Column, Kind, Model, Time

Count = Annotated[int, Field(ge=0, le=bounds.NUMBER)]
Groups = Annotated[int, Field(ge=0, le=bounds.GROUPS)]
ParallelSize = Annotated[int, Field(ge=1, le=bounds.NUMBER)]
Name = Annotated[str, Field(max_length=bounds.NAME)]
Word = Annotated[str, Field(max_length=bounds.LABEL_VALUE)]
Key = Annotated[str, Field(max_length=bounds.KEY)]
Text = Annotated[str, Field(max_length=bounds.MESSAGE)]
PRODUCTS = 256
"""Shapes, one a product of the catalogue; and products that are excluded."""


class Shape(Model):
    """How one group uses its GPUs on one product."""

    product: Word | None = Field(None, description="Key in the accelerator catalogue; absent: any product.")
    tensor: ParallelSize = Field(description="Tensor parallel size.")
    pipeline: ParallelSize = Field(description="Pipeline parallel size.")
    data: ParallelSize = Field(description="Data parallel size.")
    expert_parallel: bool = Field(False, description="Experts are spread over the tensor and data parallel GPUs.")
    max_model_len: int | None = Field(
        None, ge=1, le=bounds.NUMBER, description="Longest sequence in tokens that was planned for."
    )
    memory: Text | None = Field(None, description="Where the memory of one GPU goes, in numbers.")


class ExcludedProduct(Model):
    """A product on which the model cannot run."""

    product: Word = Field(description="Key in the accelerator catalogue.")
    reason: Text = Field(description="Why, with numbers.")


class ReplicaRange(Model):
    """Groups: the guaranteed number and the most there may be."""

    min: Groups = Field(description="Groups that are guaranteed.")
    max: Groups = Field(description="Groups there may be while GPUs are free.")


class Toleration(Model):
    """A toleration of the pods."""

    key: Key | None = Field(None, description="Key; absent: every taint.")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="Operator.")
    value: Word | None = Field(None, description="Value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(None, description="Effect.")


class GPURequestSpec(Model):
    """The need of one service."""

    pool: Name = Field(description="GPUPool that decides.")
    digest: Word = Field(description="Hash of what the decision depends on; the allocation repeats it.")
    priority: int = Field(0, ge=-1000, le=1000, description="Higher goes first.")
    strategy: Literal["static", "dynamic", "topology-aware"] = Field(description="How GPUs are planned.")
    sharing: Literal["shared", "exclusive"] = Field(description="Whether other services may use the same nodes.")
    resource: Key = Field(description="Resource name of the GPUs.")
    nodes: int = Field(ge=1, le=bounds.GROUP_NODES, description="Pods of one group.")
    gpus_per_node: int = Field(ge=1, le=bounds.GROUP_GPUS, description="GPUs of each pod.")
    replicas: ReplicaRange = Field(description="Groups.")
    shapes: list[Shape] = Field(
        max_length=PRODUCTS, description="Shapes that fit, best first; one without a product means any."
    )
    excluded: list[ExcludedProduct] = Field(
        default_factory=list, max_length=PRODUCTS, description="Products that cannot hold the model."
    )
    node_selector: Annotated[dict[str, Word], MapBounds()] = Field(
        default_factory=dict, description="Labels that nodes must have."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=bounds.ENTRIES, description="Tolerations of the pods."
    )
    claim: Name | None = Field(
        None, description="ReadWriteOnce claim that the pods read: all services that read it go to one node."
    )
    gated: bool = Field(False, description="Pods wait for the agent to give them their node.")


class BoundPod(Model):
    """A pod of the service that has a node."""

    name: Name = Field(description="Name of the pod.")
    group: Count = Field(description="Index of its group.")
    worker: Count = Field(description="Index within the group; 0 is the leader.")
    node: Name = Field(description="Node.")
    gpus: Count = Field(description="GPUs it holds.")
    resource: Key = Field("", description="Resource name of these GPUs.")


class UnboundPods(Model):
    """Pods of one group that exist and have no node yet."""

    group: Count = Field(description="Index of the group.")
    pods: int = Field(ge=1, description="How many.")


class PodFailure(Model):
    """Why a pod is not ready."""

    pod: Name = Field(description="Name of the pod, also of one that is not made.")
    reason: str = Field(description="Unschedulable, ImagePull, CrashLoop, Volume, NotCreated, Evicted, ...")
    message: str = Field(description="What Kubernetes and the process said.")
    error: str = Field(description="Class of the error.")


class GPURequestStatus(Model):
    """What became of the pods, written by the agent."""

    pool_exists: bool | None = Field(None, description="Whether a GPUPool of the asked name exists.")
    any_pool: bool | None = Field(None, description="Whether there is any GPUPool.")
    groups: int | None = Field(None, ge=0, description="Groups of which at least one pod exists.")
    pods: list[BoundPod] = Field(default_factory=list, description="Pods that have a node, by group and worker.")
    unbound: list[UnboundPods] = Field(default_factory=list, description="Pods without a node, by group.")
    unnumbered: int | None = Field(None, ge=1, description="Pods without a node that are no group yet.")
    failures: list[PodFailure] = Field(
        default_factory=list, description="Pods that are not ready, and why; at most eight."
    )
    loaded_at: Time | None = Field(None, description="When the latest leader became ready.")
    load_seconds: int | None = Field(None, ge=0, description="Seconds from that leader's start to ready.")


class GPURequest(Object):
    """The object as it is read."""

    spec: GPURequestSpec
    status: GPURequestStatus = Field(default_factory=GPURequestStatus)


KIND = Kind(
    name="GPURequest",
    plural="gpurequests",
    short_names=("gpureq",),
    categories=("amd-gpus",),
    spec=GPURequestSpec,
    status=GPURequestStatus,
    description="GPURequest is what an InferenceService needs of its pool. The operator writes it; do not edit it.",
    columns=(
        Column("Pool", ".spec.pool", "GPUPool that decides."),
        Column("Nodes", ".spec.nodes", "Pods of one group.", "integer"),
        Column("GPUs", ".spec.gpusPerNode", "GPUs of each pod.", "integer"),
        Column("Min", ".spec.replicas.min", "Guaranteed groups.", "integer"),
        Column("Max", ".spec.replicas.max", "Most groups.", "integer"),
        Column("Strategy", ".spec.strategy", "How GPUs are planned."),
        Column("Sharing", ".spec.sharing", "Whether other services may use the same nodes."),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
        Column("Failure", ".status.failures[0].message", "Why a pod is not ready.", priority=1),
    ),
)
