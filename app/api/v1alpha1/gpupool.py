"""GPUPool as an administrator writes it, and the single source of its CRD."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from app.api.bounds import KEY, LABEL_VALUE, MapBounds
from app.api.object import Object
from app.api.schema import Column, ConditionList, Duration, Kind, Model, Rule
from app.api.v1alpha1.gpuallocation import NodeRequirement
from app.kube import selectors


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


LabelValue = Annotated[str, Field(max_length=LABEL_VALUE)]


class Requirement(Model):
    """One requirement of a label selector."""

    key: str = Field(min_length=1, max_length=KEY, description="Label.")
    operator: Operator = Field(description="In, NotIn, Exists or DoesNotExist.")
    values: Annotated[list[LabelValue], Field(max_length=64)] = Field(
        default_factory=list, description="Values for In and NotIn."
    )
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            "In and NotIn need values; Exists and DoesNotExist take none",
        ),
    )


class Selector(Model):
    """A label selector; an empty one selects everything."""

    match_labels: Annotated[dict[str, LabelValue], MapBounds(entries=64)] = Field(
        {}, description="Labels with these values."
    )
    match_expressions: Annotated[list[Requirement], Field(max_length=32)] = Field(
        [], description="Further requirements; all must hold."
    )


def to_selector(selector: Selector) -> selectors.Selector:
    """The selector as it is evaluated."""
    expressions = (
        selectors.Requirement(it.key, it.operator.value, tuple(it.values)) for it in selector.match_expressions
    )
    return selectors.Selector(dict(selector.match_labels), tuple(expressions))


def to_requirements(selector: Selector) -> list[NodeRequirement]:
    """The selector as a list of requirements, all of which must hold; equal labels first, by name."""
    equal = [
        NodeRequirement(key=key, operator="In", values=[value]) for key, value in sorted(selector.match_labels.items())
    ]
    return equal + [
        NodeRequirement(key=it.key, operator=it.operator.value, values=it.values) for it in selector.match_expressions
    ]


class PoolLimit(Model):
    """What each of some namespaces may take."""

    namespace_selector: Selector = Field(
        default_factory=Selector, description="Namespaces that are limited, each alone; empty: all."
    )
    gpus: int | None = Field(
        None, ge=0, le=1_000_000, description="GPUs that all services of one namespace may hold together."
    )
    max_priority: int | None = Field(
        None, ge=-1000, le=1000, description="Highest priority that counts; a service that asks for more gets this."
    )
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.gpus) || has(self.maxPriority)", "a limit gives gpus, maxPriority or both"),
    )


class GPUPoolSpec(Model):
    """Which nodes a pool holds, and for whom."""

    node_selector: Selector = Field(default_factory=Selector, description="Nodes of the pool; empty: all AMD nodes.")
    namespace_selector: Selector = Field(
        Selector(), description="Namespaces whose services may use the pool; empty: all."
    )
    limits: Annotated[list[PoolLimit], Field(max_length=64)] = Field(
        [], description="Limits by namespace; all that match hold, and what runs stays."
    )
    reserve_after: Duration = Field(
        "10m", description="A service that has waited this long gets nodes held back for it."
    )


class ProductStatus(Model):
    """GPUs of one product."""

    product: str = Field(description="Key in the accelerator catalogue, or unknown.")
    resource: str = Field(description="Resource name of the GPUs.")
    nodes: int = Field(description="Nodes.")
    gpus: int = Field(description="Allocatable GPUs.")
    free: int = Field(description="GPUs that nobody holds.")
    largest_free: int = Field(description="Most free GPUs of one node.")


class WaitingService(Model):
    """A service in line."""

    namespace: str = Field(description="Namespace.")
    name: str = Field(description="Name.")
    place: int = Field(description="1 = next.")
    waits_for: str = Field(description="What it waits for.")


class LimitUse(Model):
    """How far one limit of GPUs is used."""

    limit: int = Field(description="Its place in spec.limits, counted from 0.")
    gpus: int = Field(description="GPUs that each namespace may hold.")
    used: int = Field(description="GPUs that the namespace holds that holds most.")
    namespace: str | None = Field(None, description="That namespace; absent: none holds any.")
    waiting: int = Field(description="Services that wait because their namespace holds as many as it may.")


class GPUPoolStatus(Model):
    """What the pool holds."""

    nodes: int | None = Field(None, description="Nodes of the pool.")
    gpus: int | None = Field(None, description="Allocatable GPUs.")
    free: int | None = Field(None, description="GPUs that nobody holds.")
    allocated: int | None = Field(None, description="GPUs allocated to services.")
    largest: str | None = Field(
        None, description="Most free GPUs of one node; with several products, of each: 8 MI300X, 4 MI210."
    )
    fragmentation: int | None = Field(None, description="% of the free GPUs that are on partly used nodes.")
    limits: list[LimitUse] | None = Field(None, description="Limits of GPUs, and how far they are used.")
    products: list[ProductStatus] = Field(default_factory=list, description="GPUs by product.")
    pending: int | None = Field(None, description="Services that wait for GPUs.")
    resume: str | None = Field(
        None, description="Service with which the next look begins, because there was too much work for one."
    )
    unanswered: int | None = Field(
        None, description="Services without GPUs that have no GPUAllocation, because very many wait."
    )
    waiting: list[WaitingService] = Field(default_factory=list, description="The first services in line.")
    conditions: ConditionList = Field(default_factory=list, description="Observations, one of each type.")


class GPUPool(Object):
    """The object as it is read."""

    spec: GPUPoolSpec
    status: GPUPoolStatus = Field(default_factory=GPUPoolStatus)


KIND = Kind(
    name="GPUPool",
    plural="gpupools",
    short_names=("gpup",),
    categories=("amd-gpus",),
    spec=GPUPoolSpec,
    status=GPUPoolStatus,
    scope="Cluster",
    description="GPUPool allocates the GPUs of a set of nodes to InferenceServices.",
    columns=(
        Column("Nodes", ".status.nodes", "Nodes of the pool.", "integer"),
        Column("GPUs", ".status.gpus", "Allocatable GPUs.", "integer"),
        Column("Free", ".status.free", "GPUs that nobody holds.", "integer"),
        Column("Allocated", ".status.allocated", "GPUs allocated to services.", "integer"),
        Column("Largest", ".status.largest", "Most free GPUs of one node, by product."),
        Column("Pending", ".status.pending", "Services that wait for GPUs.", "integer"),
        Column("Fragmentation", ".status.fragmentation", "% of free GPUs on partly used nodes.", "integer"),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
    ),
)
