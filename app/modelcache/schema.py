"""ModelCache's status as others read it.

An InferenceService reads phase, downloadProgress, path, claimName, version, and the condition Ready: the model can be
read at `path` on the claim while Ready is True, whatever the phase.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from app.crd import ConditionList, Model, Quantity, Time


class Phase(StrEnum):
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    READY = "Ready"
    FAILED = "Failed"


class ModelCacheStatus(Model):
    """Observed state of a ModelCache."""

    phase: Phase | None = Field(None, description="What the latest download does.")
    download_progress: int | None = Field(
        None, ge=0, le=100, description="Percent of the latest download that is done."
    )
    size_on_disk: Quantity | None = Field(None, description="Space the model takes on the volume.")
    last_updated: Time | None = Field(None, description="When the latest download was completed.")
    version: str | None = Field(None, description="Revision of the model at path, where its source has revisions.")
    path: str | None = Field(None, description="Folder of the model on the volume, relative to its root.")
    claim_name: str | None = Field(None, description="PersistentVolumeClaim that holds the model.")
    job_name: str | None = Field(None, description="Job of the latest download.")
    completed_job: str | None = Field(
        None, description="Job that completed the model at path; it stays done when the Job object is removed."
    )
    conditions: ConditionList | None = Field(
        None, description="Ready, Downloaded, StorageReady, SpecApplied, ChildConflict."
    )
