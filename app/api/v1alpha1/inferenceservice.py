"""The InferenceService a user writes: parent JSON -> model, and the single source of its CRD.

The specification spells some things twice (resources.totalGpus and resources.gpu.count, distributed.size and
leader + workerReplicas, ...). Such fields have no schema default, CEL refuses contradictions, and the properties of
`InferenceServiceSpec` give the one meaning that the rest of the package reads.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from app.api import bounds
from app.api.bounds import JsonBounds, MapBounds
from app.api.object import Object
from app.api.schema import Column, Duration, Kind, Model, ObjectName, Quantity, Rule
from app.api.v1alpha1.inferenceservice_status import InferenceServiceStatus
from app.api.v1alpha1.ingress import IngressSpec
from app.contracts.sources import SOURCE_MESSAGE, SOURCE_PATTERN, check_source
from app.fit.parallelism import GivenSizes, ParallelismRequest, Strategy
from app.vllm.arguments import resolve
from app.vllm.command import Precision
from app.vllm.values import parse_whole

Port = Annotated[int, Field(ge=1, le=65535)]
GROUP_SIZE_LIMIT = bounds.GROUP_NODES
GROUPS_LIMIT = bounds.GROUPS
DEFAULT_REPLICAS = 1
"""What the API server fills in where replicas is left out, so 1 may be nobody's wish."""
ENGINE_ARGS = JsonBounds(total=81_920, values=4096, depth=16, key=128)
"""A group holds arguments and variables twice, and Metacontroller's annotation on its workload 256 KiB at most."""
ENV_TOTAL = 32_768
ENV_VARS = MapBounds(key=256, total=ENV_TOTAL)
DEFAULT_POOL = "default"

# A group's StatefulSet is <name>-<group>; its pods carry <set>-<hash> in a label of 63 characters at most.
DISTRIBUTED_NAME_LIMIT = 45
# <name>-leader-<hash>-<hash> of a Deployment's pods
NAME_LIMIT = 46
# the ModelCache <name>-model has a limit of 45 itself
SOURCE_NAME_LIMIT = 39
PARTITION_PATTERN = "^(spx|dpx|tpx|qpx|cpx)_nps[1248]$"
"""As AMD's device plugin and node labeller write modes."""


class Sharing(StrEnum):
    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class ServiceType(StrEnum):
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


_SOURCE = Rule(
    # A pattern would be told as it is, and nobody reads a regular expression.
    f"!has(self.source) || self.source.matches(r'{SOURCE_PATTERN}')",
    SOURCE_MESSAGE,
    field_path=".source",
)


class ModelSpec(Model):
    """Which model is served."""

    rules = (_SOURCE,)

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")] = Field(
        description="Name under which the model is served. Without a cache or source it is also the Hugging Face id."
    )
    source: Annotated[str, Field(max_length=2048), AfterValidator(check_source)] | None = Field(
        None,
        description="Where the weights come from: hf://org/model[@revision], s3://bucket/prefix, "
        "gs://bucket[/prefix] or http(s)://... A ModelCache <name>-model is made for it.",
    )
    precision: Precision | None = Field(
        None,
        description="Number format of the weights. int8 and int4 need a checkpoint that is quantised already.",
    )
    max_tokens: int | None = Field(
        None, ge=1, le=bounds.TOKENS, description="Longest sequence, prompt and answer, in tokens."
    )
    temperature: float | None = Field(None, ge=0, le=2, description="Default sampling temperature.")


class EngineArgs(Model):
    """vLLM's own arguments by their names (max_model_len or max-model-len); they win over the simple fields."""

    model_config = ConfigDict(extra="allow", alias_generator=None, json_schema_extra={"maxProperties": bounds.ENTRIES})

    tensor_parallel_size: int | None = Field(
        None, ge=1, le=bounds.GROUP_GPUS, description="GPUs that share each layer."
    )
    pipeline_parallel_size: int | None = Field(
        None, ge=1, le=bounds.GROUP_GPUS, description="Stages the layers are split into."
    )
    data_parallel_size: int | None = Field(
        None, ge=1, le=bounds.GROUP_GPUS, description="Copies of the model inside one group."
    )

    @model_validator(mode="before")
    @classmethod
    def _is_bounded(cls, given: Any) -> Any:
        if isinstance(given, dict):
            if len(given) > bounds.ENTRIES:
                raise ValueError(f"it has {len(given)} entries, {bounds.ENTRIES} are the most")
            ENGINE_ARGS.check(given)
        return given


class VLLMSpec(Model):
    """Advanced vLLM configuration."""

    engine_args: EngineArgs = Field(default_factory=EngineArgs, description="Arguments of `vllm serve`.")
    env_vars: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], ENV_VARS] = Field(
        {}, description="Environment variables of the vLLM processes. Secrets do not belong here."
    )


class GPUSpec(Model):
    """The second spelling of GPU count and sharing."""

    count: int | None = Field(None, ge=1, le=bounds.GROUP_GPUS, description="Same as resources.totalGpus.")
    strategy: Sharing | None = Field(None, description="Same as resources.sharing.")
    resource: (
        Annotated[str, Field(max_length=317, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")] | None
    ) = Field(
        None,
        description="Resource name under which the nodes offer the GPUs, for example amd.com/cpx_nps4 for partitions; "
        "absent: the operator's.",
    )
    partition: Annotated[str, Field(max_length=16, pattern=PARTITION_PATTERN)] | None = Field(
        None,
        description="Partition mode of the GPUs, for example cpx_nps4; absent: what the resource name says, else whole "
        "GPUs. A count then counts partitions.",
    )


class ResourcesSpec(Model):
    """What one group (one replica of the model) uses."""

    strategy: Strategy = Field(
        Strategy.DYNAMIC,
        description="How GPUs are planned: static = one on each node; dynamic = by model and memory; "
        "topology-aware = dynamic, and as close together as possible.",
    )
    total_gpus: int | None = Field(
        None, ge=1, le=bounds.GROUP_GPUS, description="GPUs of one group, over all its nodes."
    )
    auto_optimize: bool = Field(
        False, description="Choose tensor, pipeline and data parallel sizes; engineArgs still win."
    )
    cpu_request: Quantity | None = Field(None, description="CPU request of each pod.")
    memory_request: Quantity | None = Field(
        None, description="Memory request of each pod. No limit is set: shared memory would count against it."
    )
    sharing: Sharing | None = Field(
        None,
        description="shared = other services may use free GPUs of the same nodes; exclusive = they may not.",
    )
    gpu: GPUSpec = Field(
        default_factory=GPUSpec, description="Second spelling of totalGpus and sharing, and the resource name."
    )
    pool: ObjectName = Field(DEFAULT_POOL, description="GPUPool that decides which GPUs the service gets.")
    priority: int = Field(
        0, ge=-1000, le=1000, description="Place in line for GPUs: higher goes first, then age. Nothing is taken away."
    )


class MPISpec(Model):
    """MPI as the launcher of a group's processes; vLLM itself talks through RCCL either way."""

    enabled: bool = Field(False, description="Start the group with mpirun over ssh instead of natively.")
    timeout: int = Field(300, ge=1, le=86400, description="Seconds until all nodes must have joined.")
    ssh_key_secret: ObjectName | None = Field(
        None,
        description="Secret of this namespace with the group's private key under ssh-privatekey (type "
        "kubernetes.io/ssh-auth, no passphrase); absent: a Job makes <name>-ssh-keys.",
    )


class DistributedSpec(Model):
    """Serving one model from several nodes, as a LeaderWorkerSet."""

    enabled: bool = Field(False, description="Spread each group over several nodes.")
    size: int | None = Field(None, ge=1, le=GROUP_SIZE_LIMIT, description="Nodes (pods) of one group, leader included.")
    backend: Annotated[str, Field(json_schema_extra={"enum": ["lws"]})] = Field(
        "lws", description="What runs a group: LeaderWorkerSet."
    )
    mpi: MPISpec = Field(default_factory=MPISpec, description="MPI launch mode.")
    leader_replicas: int | None = Field(None, ge=1, le=1, description="Leaders of a group: always 1.")
    worker_replicas: int | None = Field(
        None, ge=0, le=GROUP_SIZE_LIMIT - 1, description="Second spelling of size: size = 1 leader + workers."
    )


class StorageSpec(Model):
    """Where the model and shared memory are."""

    model_cache: ObjectName | None = Field(None, description="ModelCache of this namespace that holds the weights.")
    shared_memory: Quantity = Field("16Gi", description="Size limit of /dev/shm, which vLLM's processes share.")
    read_only: bool = Field(True, description="Mount the model read-only.")
    compile_cache_claim: ObjectName | None = Field(
        None,
        description="PersistentVolumeClaim of this namespace that keeps compiled kernels and graphs between starts; "
        "ReadWriteMany where the service has more than one pod. Absent: each start compiles anew.",
    )


class PrometheusSpec(Model):
    """Where metrics are scraped."""

    port: Port = Field(9090, description="Metrics port of the Service; it leads to vLLM's API port.")
    path: Annotated[str, Field(max_length=64)] = Field("/metrics", description="vLLM serves /metrics only.")
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.path == '/metrics'",
            "vLLM serves its metrics at /metrics only: leave path out, or write /metrics",
        ),
    )


class MonitoringSpec(Model):
    """Metrics collection."""

    enabled: bool = Field(True, description="Offer metrics on the Service and annotate it for scraping.")
    prometheus: PrometheusSpec = Field(default_factory=PrometheusSpec, description="Scrape port and path.")


class AutoscalingSpec(Model):
    """Horizontal autoscaling of whole groups."""

    enabled: bool = Field(False, description="Scale the number of groups; spec.replicas is ignored then.")
    min_replicas: int = Field(1, ge=1, le=GROUPS_LIMIT, description="Fewest groups.")
    max_replicas: int | None = Field(None, ge=1, le=GROUPS_LIMIT, description="Most groups.")
    target_utilization: int = Field(70, ge=1, le=100, description="CPU use of the leaders, in % of their request.")
    scale_down_delay: Duration = Field("300s", description="How long load must be low before groups are removed.")
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.enabled || has(self.maxReplicas)",
            "autoscaling needs an upper bound: set autoscaling.maxReplicas",
        ),
        Rule(
            "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
            "autoscaling.minReplicas must not be greater than maxReplicas",
        ),
        Rule(
            "duration(self.scaleDownDelay) <= duration('1h')",
            "autoscaling.scaleDownDelay can be one hour at most (a limit of HorizontalPodAutoscaler)",
        ),
    )


class PortsSpec(Model):
    """Ports of the Service."""

    http: Port = Field(8000, description="Port of the OpenAI-compatible HTTP API.")
    grpc: Port | None = Field(None, description="Port of the gRPC API; vLLM serves none by default.")


class NetworkingSpec(Model):
    """How the service is reached inside the cluster, and simply from outside."""

    service_type: ServiceType = Field(ServiceType.CLUSTER_IP, description="Type of the Service.")
    ports: PortsSpec = Field(default_factory=PortsSpec, description="Ports of the Service.")
    ingress: IngressSpec = Field(default_factory=IngressSpec, description="Ingress in front of the Service.")


_TOTAL = "self.resources.?totalGpus.orValue(self.resources.?gpu.?count.orValue(1))"
_NODES = (
    "(self.?distributed.?enabled.orValue(false) "
    "? self.distributed.?size.orValue(1 + self.distributed.?workerReplicas.orValue(0)) : 1)"
)
_TP, _PP, _DP = (f"self.?vllm.?engineArgs.?{axis}_parallel_size" for axis in ("tensor", "pipeline", "data"))
_PRODUCT = f"({_TP}.orValue(1) * {_PP}.orValue(1) * {_DP}.orValue(1))"

SIZE_RULES = (
    Rule(
        f"self.resources.?strategy.orValue('dynamic') != 'static' || {_TOTAL} == {_NODES}",
        "strategy static places one GPU on each node: distributed.size must equal totalGpus (1 when distributed "
        "is not enabled)",
    ),
    Rule(
        f"{_TOTAL} % {_NODES} == 0",
        "totalGpus cannot be split evenly over the nodes of a group: it must be a multiple of distributed.size",
    ),
    Rule(
        f"{_TOTAL} % {_PRODUCT} == 0 && (!({_TP}.hasValue() && {_PP}.hasValue() && {_DP}.hasValue()) "
        f"|| {_TOTAL} == {_PRODUCT})",
        "tensor x pipeline x data parallel size cannot make totalGpus: the product must be totalGpus, or divide "
        "it when one of them is left out",
    ),
)
"""What they refuse, the planner explains with the numbers, where an object was not admitted yet."""


class InferenceServiceSpec(Model):
    """A model served by vLLM on AMD GPUs, on one node or on many."""

    model: ModelSpec = Field(description="Which model is served.")
    vllm: VLLMSpec = Field(default_factory=VLLMSpec, description="Advanced vLLM configuration.")
    resources: ResourcesSpec = Field(description="GPUs, CPU and memory of one group.")
    replicas: int | None = Field(
        None,
        ge=0,
        le=GROUPS_LIMIT,
        # by the API server alone: without a number in the stored object, the scale subresource answers an error
        json_schema_extra={"default": DEFAULT_REPLICAS},
        description="Groups to run; each is one whole copy of the service. Ignored under autoscaling; when that is "
        "switched off, 1 keeps the number that runs.",
    )
    distributed: DistributedSpec = Field(default_factory=DistributedSpec, description="Several nodes for one group.")
    storage: StorageSpec = Field(default_factory=StorageSpec, description="Model volume and shared memory.")
    monitoring: MonitoringSpec = Field(default_factory=MonitoringSpec, description="Metrics collection.")
    autoscaling: AutoscalingSpec = Field(default_factory=AutoscalingSpec, description="Horizontal autoscaling.")
    networking: NetworkingSpec = Field(default_factory=NetworkingSpec, description="Service and ingress.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.resources.totalGpus) || self.resources.?gpu.?count.hasValue()",
            "say how many GPUs one group uses: set resources.totalGpus",
        ),
        Rule(
            "!has(self.resources.totalGpus) || self.resources.totalGpus == "
            "self.resources.?gpu.?count.orValue(self.resources.totalGpus)",
            "resources.totalGpus and resources.gpu.count mean the same and differ: keep one",
        ),
        Rule(
            "!has(self.resources.sharing) || self.resources.sharing == "
            "self.resources.?gpu.?strategy.orValue(self.resources.sharing)",
            "resources.sharing and resources.gpu.strategy mean the same and differ: keep one",
        ),
        Rule(
            "!self.?distributed.?size.hasValue() || self.distributed.size == "
            "1 + self.distributed.?workerReplicas.orValue(self.distributed.size - 1)",
            "distributed.size counts the leader: it must be workerReplicas + 1, or keep one of the two",
        ),
        Rule(
            "!self.?distributed.?enabled.orValue(false) || has(self.distributed.size) "
            "|| has(self.distributed.workerReplicas)",
            "say how many nodes one group uses: set distributed.size",
        ),
        Rule(
            "!(has(self.model.source) && self.?storage.?modelCache.hasValue())",
            "model.source and storage.modelCache both say where the weights come from: keep one",
        ),
        *SIZE_RULES,
        Rule(
            "!self.?autoscaling.?enabled.orValue(false) || has(self.resources.cpuRequest)",
            "autoscaling aims at a share of the CPU request: set resources.cpuRequest",
        ),
    )

    @property
    def total_gpus(self) -> int:
        return self.resources.total_gpus or self.resources.gpu.count or 1

    @property
    def nodes(self) -> int:
        """Pods of one group."""
        group = self.distributed
        return (group.size or 1 + (group.worker_replicas or 0)) if group.enabled else 1

    @property
    def gpus_per_node(self) -> int:
        return self.total_gpus // self.nodes

    def canonical(self) -> InferenceServiceSpec:
        """The same meaning in the first spelling, so that respelling a spec is no edit of it."""
        group, resources = self.distributed, self.resources
        first = resources.model_copy(
            update={
                "total_gpus": self.total_gpus,
                "sharing": self.sharing,
                "gpu": resources.gpu.model_copy(update={"count": None, "strategy": None}),
            },
        )
        size = {"size": self.nodes} if group.enabled else {}
        whole = group.model_copy(update={"leader_replicas": None, "worker_replicas": None} | size)
        return self.model_copy(update={"resources": first, "distributed": whole})

    @property
    def sharing(self) -> Sharing | None:
        return self.resources.sharing or self.resources.gpu.strategy

    def gpu_resource(self, usual: str) -> str:
        """Name under which nodes offer the GPUs; `usual` is the operator's."""
        return self.resources.gpu.resource or usual

    @property
    def partition(self) -> str | None:
        """Partition mode that is asked for, None = whole GPUs."""
        named = (self.resources.gpu.resource or "").rpartition("/")[2]
        return self.resources.gpu.partition or (named if re.match(PARTITION_PATTERN, named) else None)

    @cached_property
    def engine_args(self) -> dict[str, Any]:
        """What the user gave, by the names they used."""
        return {name: value for name, value in self.vllm.engine_args if value is not None}

    @property
    def uses_ray(self) -> bool:
        return bool(self.known_arguments.get("distributed_executor_backend") == "ray")

    @cached_property
    def known_arguments(self) -> dict[str, Any]:
        """What the user gave by the arguments' own names: short names and --no- forms are resolved."""
        return {entry.name: entry.value for entry in resolve(self.engine_args)}

    @property
    def demand(self) -> ParallelismRequest:
        args = self.known_arguments
        sizes = (_size(args.get(f"{axis}_parallel_size")) for axis in ("tensor", "pipeline", "data", "prefill_context"))
        resources = self.resources
        return ParallelismRequest(
            gpus=self.total_gpus,
            nodes=self.nodes,
            strategy=resources.strategy,
            auto_optimize=resources.auto_optimize,
            given=GivenSizes(*sizes),
            even_copies=not self.uses_ray,
        )


class InferenceService(Object):
    """The object as it is read."""

    spec: InferenceServiceSpec
    status: InferenceServiceStatus = Field(default_factory=InferenceServiceStatus)


def _size(value: object) -> int | None:
    """A parallel size from a free-form argument; what is no positive number is reported by the argument check."""
    number = parse_whole(value)
    return number if number and number > 0 else None


KIND = Kind(
    name="InferenceService",
    plural="inferenceservices",
    # not "isvc": KServe has that, and both may be installed
    short_names=("infsvc",),
    spec=InferenceServiceSpec,
    status=InferenceServiceStatus,
    description="InferenceService is a model served by vLLM on AMD GPUs, on one node or on many.",
    columns=(
        Column("Phase", ".status.phase", "Pending, Starting, Ready, Degraded or Failed."),
        Column("Ready", ".status.readyReplicas", "Groups that answer requests.", "integer"),
        Column("Groups", ".status.replicas", "Groups that exist.", "integer"),
        Column("Model", ".spec.model.name", "Model that is served."),
        Column("GPUs", ".status.allocation.summary", "Nodes x GPUs of one group, and its parallel sizes."),
        Column("Product", ".status.allocation.product", "AMD product that was granted.", priority=1),
        Column(
            "Since",
            '.status.conditions[?(@.type=="Ready")].lastTransitionTime',
            "Last change of Ready.",
            "date",
        ),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
        Column("URL", ".status.endpoints.internal", "URL inside the cluster.", priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', "What it waits for.", priority=1),
    ),
    rules=(
        Rule(
            f"!self.spec.?distributed.?enabled.orValue(false) || self.metadata.name.size() <= {DISTRIBUTED_NAME_LIMIT}",
            f"the name of a distributed service can have {DISTRIBUTED_NAME_LIMIT} characters at most, "
            "because LeaderWorkerSet makes longer names and labels of it",
        ),
        Rule(
            f"!has(self.spec.model.source) || self.metadata.name.size() <= {SOURCE_NAME_LIMIT}",
            f"the name of a service with model.source can have {SOURCE_NAME_LIMIT} characters at most, "
            "because its ModelCache and Job have longer names",
        ),
        Rule(
            f"self.metadata.name.size() <= {NAME_LIMIT}",
            f"the name can have {NAME_LIMIT} characters at most, because its pods have longer names",
        ),
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "the name must start with a letter and have lower-case letters, digits and '-' only, "
            "because its Service has the same name",
        ),
    ),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)
