"""ModelCache as users write it: the single source of its CRD."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.crd import Column, Duration, Kind, Model, ObjectName, Quantity, Rule
from app.modelcache.schema import COPIES, ModelCacheStatus
from app.source.spec import DownloadPolicy, SourceMember, SourceSpec, SourceType, named_repository


class AccessMode(StrEnum):
    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE = "ReadWriteOnce"


class CachingSpec(Model):
    """How the model is kept."""

    enabled: bool = Field(
        True, description="Keep the model on a volume; false: every pod fetches it for itself before it starts."
    )
    replicas: int = Field(
        1,
        ge=1,
        le=COPIES,
        description="Copies, each on a volume of its own, for ReadWriteOnce; a ReadWriteMany volume holds one for all.",
    )


_SIZE_IS_POSITIVE = Rule(
    "!has(self.size) || quantity(string(self.size)).isGreaterThan(quantity('0'))",
    "size must be more than 0: write for example 50Gi",
    field_path=".size",
)


_ONE_VOLUME = Rule(
    "[has(self.existingClaim), has(self.hostPath), has(self.storageClass)].filter(x, x).size() <= 1",
    "give at most one of storageClass (a volume is made), existingClaim and hostPath",
)
_SCHEDULE = Rule(
    "!has(self.refreshInterval) || (has(self.downloadPolicy) && self.downloadPolicy == 'Always')",
    "refreshInterval needs downloadPolicy Always: the other policies ask the source once",
)
_SCHEDULE_IS_SLOW = Rule(
    "!has(self.refreshInterval) || duration(self.refreshInterval) >= duration('1m')",
    "refreshInterval must be 1m or more, for example 24h",
    field_path=".refreshInterval",
)
HostPath = Annotated[str, Field(min_length=2, max_length=1024, pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$")]


class ModelCacheSpec(Model):
    """Desired state of a ModelCache."""

    rules = (_SIZE_IS_POSITIVE, _ONE_VOLUME, _SCHEDULE, _SCHEDULE_IS_SLOW)

    model_name: str = Field(
        min_length=1, max_length=200, description="The model, for example meta-llama/Llama-2-7b-chat-hf."
    )
    storage_class: ObjectName | None = Field(
        None, description="StorageClass of the volume; absent: the operator's, else the cluster's default."
    )
    size: Quantity | None = Field(
        None, description="Size of the volume, for example 50Gi; it can grow but not shrink. Absent: the operator's."
    )
    existing_claim: ObjectName | None = Field(
        None, description="PersistentVolumeClaim of this namespace to use; it is kept when the ModelCache goes."
    )
    host_path: HostPath | None = Field(
        None,
        description="Folder to use, the same on all nodes, below a prefix that the administrator allows.",
    )
    access_mode: AccessMode = Field(
        AccessMode.READ_WRITE_MANY,
        description="ReadWriteMany lets pods on several nodes read the model; ReadWriteOnce those of one node.",
    )
    download_policy: DownloadPolicy = Field(
        DownloadPolicy.IF_NOT_PRESENT,
        description="Always: ask the source again at each refresh, and fetch what changed. IfNotPresent: fetch what is "
        "missing. Never: only verify what is on the volume.",
    )
    refresh_interval: Duration | None = Field(
        None, description="How long after a download the source is asked again, for example 24h; needs Always."
    )
    source: SourceSpec | None = Field(
        None, description="Where the model comes from; absent: the Hugging Face repository named by modelName."
    )
    caching: CachingSpec = Field(default_factory=CachingSpec, description="How the model is kept.")

    @property
    def source_type(self) -> SourceType:
        return self.source.type if self.source else SourceType.HUGGINGFACE

    @property
    def source_member(self) -> SourceMember:
        """The chosen member of source; without one, modelName is a Hugging Face repository."""
        member = self.source.member if self.source else None
        return member or named_repository(self.model_name)


KIND = Kind(
    name="ModelCache",
    plural="modelcaches",
    short_names=("mcache",),
    spec=ModelCacheSpec,
    status=ModelCacheStatus,
    description="ModelCache downloads a model once to a volume that InferenceServices of its namespace read.",
    columns=(
        Column("Model", ".spec.modelName", "The model."),
        Column("Phase", ".status.phase", "Pending, Downloading, Ready or Failed."),
        Column("Progress", ".status.downloadProgress", "Percent of the download that is done.", "integer"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether services can read the model."),
        Column(
            "Since",
            '.status.conditions[?(@.type=="Ready")].lastTransitionTime',
            "Since when Ready has this value.",
            "date",
        ),
        Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date"),
        Column("Size", ".status.sizeOnDisk", "Space the model takes.", priority=1),
        Column("Claim", ".status.claimName", "PersistentVolumeClaim that holds the model.", priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', "What is going on.", priority=1),
    ),
    rules=(
        Rule(
            "self.metadata.name.size() <= 45",
            "metadata.name may have at most 45 characters, for the download Job's name must fit 63: shorten it",
        ),
    ),
)
