"""GPUAllocation: a pool's decision about one GPURequest, with its reasons."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from app.api import bounds
from app.api.object import Object
from app.api.schema import Column, Kind, Model, Time
from app.api.v1alpha1.gpurequest import Count, Key, Name, Shape, Text, Word


class Phase(StrEnum):
    """Where a decision stands."""

    PROPOSED = "Proposed"
    BOUND = "Bound"
    UNKNOWN = "Unknown"
    PENDING = "Pending"
    IMPOSSIBLE = "Impossible"


class GrantedGPU(Model):
    """GPUs of one pod, and of further pods on the same node. Which devices they are, kubelet
    decides when a pod starts; the status tells."""

    group: Count = Field(description="Index of the group.")
    worker: Count = Field(description="Index within the group; 0 is the leader.")
    node: Name = Field(description="Node.")
    count: int | None = Field(None, ge=1, le=bounds.GROUP_GPUS, description="GPUs of the pod; absent: 1.")
    more: str | None = Field(
        None,
        max_length=32768,
        description='Further pods with as many GPUs on this node: "1-3" are the leaders of groups 1 to 3, "4.0-2" '
        "workers 0 to 2 of group 4.",
    )
    memory_bytes: int | None = Field(None, ge=0, le=bounds.NUMBER, description="Memory of one GPU in bytes.")
    proposed: bool | None = Field(None, description="True until a later look confirms it; nothing is bound before.")


class ExcludedNodes(Model):
    """Nodes that were not taken, for one reason."""

    reason: Text = Field(description="Why.")
    nodes: int = Field(ge=1, le=bounds.NUMBER, description="How many.")


class NodeRequirement(Model):
    """One requirement on the labels of a Node."""

    key: Key = Field(description="Label.")
    operator: Word = Field(description="In, NotIn, Exists or DoesNotExist.")
    values: list[Word] = Field(default_factory=list, max_length=bounds.ENTRIES, description="Values for In and NotIn.")


class GivenBack(Model):
    """GPUs that were granted to pods which did not come."""

    pods: int = Field(ge=1, le=bounds.NUMBER, description="Pods whose GPUs were given back.")
    at: Time = Field(description="When.")
    times: int = Field(
        ge=1, le=bounds.NUMBER, description="How often in a row; the delay until the next try doubles each time."
    )
    message: Text | None = Field(None, description="Why, what to look for, and when it is tried again.")


class NextDecision(Model):
    """What is said about a changed request, while the decision about the earlier one still holds its GPUs."""

    digest: Word = Field(description="Digest of the changed GPURequest.")
    phase: Phase = Field(description="Pending or Impossible.")
    message: Text | None = Field(None, description="Why, in sentences with numbers.")
    place_in_line: int | None = Field(None, ge=1, le=bounds.NUMBER, description="1 = next to get GPUs.")
    waiting_since: Time | None = Field(None, description="Since when it waits.")


class GPUAllocationSpec(Model):
    """The decision."""

    pool: Name = Field(description="GPUPool that decided.")
    digest: Word = Field(description="Digest of the GPURequest that was decided about.")
    phase: Phase = Field(description="Proposed, Bound, Pending, Impossible or Unknown. Services act on Bound alone.")
    resource: Key | None = Field(None, description="Resource name of the GPUs.")
    exclusive: bool | None = Field(None, description="True when no other service may use the nodes.")
    product: Word | None = Field(None, description="Product of the GPUs; absent: nobody knows it.")
    shape: Shape | None = Field(None, description="How each group uses its GPUs.")
    gpus: list[GrantedGPU] = Field(
        default_factory=list, max_length=bounds.ITEMS, description="GPUs by node, group and worker."
    )
    pool_nodes: list[NodeRequirement] = Field(
        [], max_length=bounds.ENTRIES, description="What the pool's node selector asks for; absent: nothing."
    )
    groups: Count | None = Field(None, description="Groups that have their GPUs.")
    summary: Text | None = Field(None, description="The decision in a few words.")
    message: Text | None = Field(None, description="The decision in sentences, with numbers.")
    excluded: list[ExcludedNodes] = Field(
        [], max_length=bounds.ITEMS, description="Nodes not taken, by reason; with those taken they are all."
    )
    place_in_line: int | None = Field(None, ge=1, le=bounds.NUMBER, description="1 = next to get GPUs.")
    waiting_since: Time | None = Field(None, description="Since when it waits.")
    next: NextDecision | None = Field(None, description="What is said about a changed request.")
    awaiting_since: Time | None = Field(None, description="Since when pods that were granted GPUs do not exist.")
    given_back: GivenBack | None = Field(None, description="GPUs given back because their pods did not come.")
    foreign_use_unknown: bool | None = Field(None, description="True when nobody reports what other pods hold.")
    breaches: list[Text] = Field(
        [], max_length=bounds.ITEMS, description="Where what runs breaks a rule; it is reported, never moved."
    )


class AssignedDevice(Model):
    """One GPU, or partition of a GPU, that kubelet gave to a pod."""

    pod: Name = Field(description="Name of the pod.")
    pod_uid: Word = Field(description="Which pod of that name.")
    group: Count = Field(description="Index of the group.")
    worker: Count = Field(description="Index within the group; 0 is the leader.")
    node: Name = Field(description="Node.")
    device: Word = Field(description="The device's index on the node: gpu_id of AMD's device-metrics-exporter.")
    serial_number: Name = Field("", description="Serial number of the card; empty where the exporter does not tell.")


class GPUAllocationStatus(Model):
    """Which devices the pods got, written by the agent."""

    devices: list[AssignedDevice] = Field(
        [], description="Devices by group and worker, of pods on nodes where AMD's device-metrics-exporter reports."
    )


class GPUAllocation(Object):
    """The object as it is read."""

    spec: GPUAllocationSpec
    status: GPUAllocationStatus = Field(default_factory=GPUAllocationStatus)


KIND = Kind(
    name="GPUAllocation",
    plural="gpuallocations",
    short_names=("gpualloc",),
    categories=("amd-gpus",),
    spec=GPUAllocationSpec,
    status=GPUAllocationStatus,
    description="GPUAllocation is a pool's decision about one GPURequest. The operator writes it; do not edit it.",
    columns=(
        Column("Pool", ".spec.pool", "GPUPool that decided."),
        Column("Phase", ".spec.phase", "Proposed, Bound, Pending, Impossible or Unknown."),
        Column("Product", ".spec.product", "AMD product."),
        Column("Groups", ".spec.groups", "Groups that have their GPUs.", "integer"),
        Column("Summary", ".spec.summary", "The decision in a few words."),
        Column("Line", ".spec.placeInLine", "Place in line while it waits.", "integer"),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
        Column("Devices", ".status.devices[*].device", "GPUs of the pods, by index on their node.", priority=1),
        Column("Message", ".spec.message", "The decision in sentences.", priority=1),
    ),
)
