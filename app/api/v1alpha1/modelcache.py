"""ModelCache as users write it, and its status as others read it.

An InferenceService reads phase, downloadProgress, path, claimName, hostPath, copies, version, model, and the condition
Ready: the model can be read at `path` of the volume while Ready is True, whatever the phase.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from app.api.bounds import NAME
from app.api.object import Object
from app.api.schema import Column, ConditionList, Duration, Kind, Model, ObjectName, Quantity, Rule, Time
from app.api.v1alpha1.source import DownloadPolicy, SourceMember, SourceSpec, named_repository
from app.contracts.sources import SourceType
from app.fit import codec
from app.fit.model import ModelFacts

COPIES = 100
"""Volumes of one cache."""


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


class Phase(StrEnum):
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    READY = "Ready"
    FAILED = "Failed"


Count = Annotated[int, Field(ge=0)]


class DownloadStatus(Model):
    """How far the latest download is."""

    bytes: Count = Field(description="Bytes that are there.")
    total: Count | None = Field(None, description="Bytes in all, where the source tells.")
    bytes_per_second: Count | None = Field(None, description="Rate of the last minute.")
    files: Count = Field(description="Files that are there and verified.")
    files_total: Count | None = Field(None, description="Files in all.")


class CopyStatus(Model):
    """One volume of the cache."""

    claim_name: str = Field(description='PersistentVolumeClaim; "" for a folder of the nodes.')
    ready: bool = Field(description="Whether the model can be read there.")
    path: str | None = Field(None, description="Folder of the model there.")
    completed_job: str | None = Field(
        None, description="Job that completed it; it stays done when the Job object is removed."
    )
    last_updated: Time | None = Field(None, description="When that was.")


class ModelCacheStatus(Model):
    """Observed state of a ModelCache."""

    phase: Phase | None = Field(None, description="What the latest download does.")
    download_progress: int | None = Field(
        None, ge=0, le=100, description="Percent of the latest download that is done."
    )
    download: DownloadStatus | None = Field(None, description="How far the latest download is, in numbers.")
    size_on_disk: Quantity | None = Field(None, description="Space the model takes on the volume.")
    last_updated: Time | None = Field(None, description="When the latest download was completed.")
    version: str | None = Field(
        None, description="What the source calls the content at path: a commit, an ETag; until then what was asked for."
    )
    path: str | None = Field(None, description="Folder of the model on the volume, relative to its root.")
    claim_name: str | None = Field(None, description="PersistentVolumeClaim that holds the model.")
    host_path: str | None = Field(None, description="Folder of the nodes that holds the model instead of a claim.")
    access_mode: str | None = Field(
        None, description="ReadWriteMany or ReadWriteOnce: what the claim can do, whatever the spec has come to say."
    )
    copies: list[CopyStatus] | None = Field(
        None, max_length=COPIES, description="The volumes, the one that the source fills first."
    )
    job_name: str | None = Field(None, description="Job of the latest download.")
    model: Annotated[dict[str, Any], WithJsonSchema(codec.to_schema(ModelFacts, text=NAME, items=16))] | None = Field(
        None, description="Facts of the model as the planner reads them, from its config.json and safetensors headers."
    )
    parameters: Count | None = Field(None, description="Parameters of the model, from its safetensors headers.")
    model_unknown: str | None = Field(None, description="Why the facts of the model are not known.")
    conditions: ConditionList | None = Field(
        None, description="Ready, Downloaded, Verified, StorageReady, SpecApplied, ChildConflict."
    )


class ModelCache(Object):
    """The object as it is read."""

    spec: ModelCacheSpec
    status: ModelCacheStatus = Field(default_factory=ModelCacheStatus)


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
