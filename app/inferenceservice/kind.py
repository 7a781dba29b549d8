"""What the API server must know about InferenceService besides its fields."""

from app.crd import Column, Kind, Rule
from app.inferenceservice.names import DISTRIBUTED_NAME_LIMIT, NAME_LIMIT, SOURCE_NAME_LIMIT
from app.inferenceservice.schema import InferenceServiceStatus
from app.inferenceservice.spec import InferenceServiceSpec

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
