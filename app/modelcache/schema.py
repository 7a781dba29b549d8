"""ModelCache's status as others read it.

An InferenceService reads phase, downloadProgress, path, claimName, hostPath, copies, version, model, and the condition
Ready: the model can be read at `path` of the volume while Ready is True, whatever the phase.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from app.bounds import NAME
from app.crd import ConditionList, Model, Quantity, Time
from app.topology import codec
from app.topology.models import ModelFacts


class Phase(StrEnum):
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    READY = "Ready"
    FAILED = "Failed"


COPIES = 100
"""Volumes of one cache."""
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
