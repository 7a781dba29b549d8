"""InferenceService's status as others read it."""

from __future__ import annotations

from pydantic import Field

from app.api.schema import ConditionList, Model


class EndpointsStatus(Model):
    """Addresses of the service."""

    internal: str | None = Field(None, description="URL inside the cluster.")
    external: str | None = Field(None, description="URL from outside, by ingress or load balancer.")


class ResourceUsageStatus(Model):
    """Use of resources, where something reports it."""

    gpu_utilization: int | None = Field(None, description="GPU utilisation in %.")
    memory_usage: str | None = Field(None, description="Memory in use.")


class ModelStatus(Model):
    """The model in the serving processes."""

    loaded: bool | None = Field(None, description="Whether at least one group has loaded it.")
    load_time: str | None = Field(None, description="Time from start to ready.")
    version: str | None = Field(None, description="Revision of the weights in the pods that run.")


class DistributedStatus(Model):
    """Ready pods of distributed groups."""

    leader_ready: int | None = Field(None, description="Leaders of ready groups.")
    workers_ready: int | None = Field(None, description="Workers of ready groups.")


class AllocationStatus(Model):
    """How the GPUs of one group are used, and who decided it."""

    gpus: int | None = Field(None, description="GPUs of one group.")
    nodes: int | None = Field(None, description="Nodes of one group.")
    gpus_per_node: int | None = Field(None, description="GPUs on each node.")
    tensor_parallel: int | None = Field(None, description="Tensor parallel size.")
    pipeline_parallel: int | None = Field(None, description="Pipeline parallel size.")
    data_parallel: int | None = Field(None, description="Data parallel size.")
    summary: str | None = Field(None, description="All of it in a few characters.")
    product: str | None = Field(None, description="AMD product that was granted.")
    max_model_len: int | None = Field(None, description="Longest sequence that was planned for, in tokens.")
    memory: str | None = Field(None, description="Where the memory of one GPU goes.")
    pool: str | None = Field(None, description="GPUPool that decided.")
    phase: str | None = Field(None, description="Proposed, Bound, Pending or Impossible: what the pool said.")
    place_in_line: int | None = Field(None, description="1 = next to get GPUs.")
    assigned_nodes: list[str] | None = Field(None, description="Nodes that the pool counts on.")


class InferenceServiceStatus(Model):
    """What became of the spec."""

    phase: str | None = Field(None, description="Pending, Starting, Ready, Degraded or Failed.")
    replicas: int | None = Field(None, description="Groups that exist.")
    ready_replicas: int | None = Field(None, description="Groups that answer requests.")
    selector: str | None = Field(None, description="Selects the leaders; for the scale subresource.")
    endpoints: EndpointsStatus | None = Field(None, description="Addresses of the service.")
    allocation: AllocationStatus | None = Field(None, description="How the GPUs of one group are used.")
    distributed: DistributedStatus | None = Field(None, description="Ready pods of distributed groups.")
    resource_usage: ResourceUsageStatus | None = Field(None, description="Use of resources.")
    model_status: ModelStatus | None = Field(None, description="The model in the serving processes.")
    conditions: ConditionList = Field(default_factory=list, description="Observations, one of each type.")
