"""Contract between a ModelCache's reconciler and the downloader in its Job; the standard library only, for both ends.

Told to the downloader: the environment variables below. Told by it: the annotation REPORT_ANNOTATION on its own Job, a
DownloadReport as compact JSON, patched at most every REPORT_SECONDS and once at the end; and its exit code. A Job's
podFailurePolicy fails the Job at once on EXIT_FINAL, for trying again would change nothing; any other code but 0 counts
as one try.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.fit import codec
from app.fit.model import ModelFacts
from app.kube.weight import holds_more

REPORT_ANNOTATION = "inference.ai/download-report"
REPORT_SECONDS = 10
REPORT_VALUES = 4096
"""JSON values of a report; whoever can edit a Job can write more."""
EXIT_RETRY = 1
"""Transient, External or Resource (a volume may grow): the same command may succeed later."""
EXIT_FINAL = 42
"""Configuration or Permanent: somebody must change something first."""

MODEL_NAME = "INFERENCE_MODEL_NAME"
SOURCE_TYPE = "INFERENCE_SOURCE_TYPE"
"""huggingface, s3, gcs or http."""
SOURCE = "INFERENCE_SOURCE"
"""That member of spec.source as compact JSON with sorted keys; Secrets are not named in it. `"extract":true` in an http
source asks for its archive to be unpacked; without it an archive is refused."""
VOLUME = "INFERENCE_VOLUME"
"""Root of the volume; everything the downloader writes is below it."""
VOLUME_BYTES = "INFERENCE_VOLUME_BYTES"
"""Bytes that may be written below VOLUME, where the volume would hold more and the pod be evicted for it; absent: what
is free there."""
PATH = "INFERENCE_PATH"
"""Folder of this model and revision below VOLUME: ModelCache's status.path."""
POLICY = "INFERENCE_DOWNLOAD_POLICY"
"""Always, IfNotPresent, or Never: verify what is there, fetch nothing."""
CACHE = "INFERENCE_MODEL_CACHE"
"""namespace/name of the ModelCache, written into the manifests of what is downloaded for it."""
KEEP = "INFERENCE_KEEP_REVISIONS"
"""How many other finished folders of the same model and CACHE stay on the volume; absent: all."""
COPY_FROM = "INFERENCE_COPY_FROM"
"""Root of another volume, read-only, that has the finished folder already: copy and verify instead of fetching."""
SECRET = "INFERENCE_SECRET"
"""Name of the Secret that the source refers to; absent: it refers to none. Its keys are given by reference and are
optional, so that the pod starts without them and says by its report what is missing (app.contracts.sources)."""
JOB = "INFERENCE_JOB"
"""namespace/name of the Job to report to; absent: report to the log only."""


CLUSTER_CIDRS = "INFERENCE_CLUSTER_CIDRS"
"""Ranges of the cluster's pods and Services, comma-separated: no source may lead there; absent: not known."""
ALLOWED_HOSTS = "INFERENCE_DOWNLOADER_ALLOWED_HOSTS"
"""Hosts that sources may lead to wherever they are, comma-separated."""


@dataclass(frozen=True)
class ReportedError:
    """Why the last try failed: of a request while they are repeated, at the end of the whole run."""

    error_class: str
    """Transient, Permanent, Configuration, Resource or External: app.kube.conditions.ErrorClass."""
    reason: str
    """One CamelCase word, for example GatedRepository."""
    message: str
    """A sentence that says what to do; never a secret."""


@dataclass(frozen=True)
class DownloadReport:
    """Progress while it runs; at the end revision, size, verification and the model's facts. Sizes in bytes."""

    bytes_done: int = 0
    bytes_total: int = 0
    """0 = not known."""
    bytes_per_second: int = 0
    files_done: int = 0
    files_total: int = 0
    revision: str = ""
    """What the source says the content is: a commit, an ETag; "" where it says nothing."""
    path: str = ""
    """Folder below VOLUME where readers find the model; "" until it is finished. It is PATH, or `PATH@<content>` when
    the source's content changed: what a running server reads is never touched."""
    size_on_disk: int = 0
    """Of the finished folder; 0 until then."""
    verified_files: int = 0
    """Files whose hash the source gave and that have it."""
    parameters: int = 0
    """From the safetensors headers; 0 = not known."""
    model: ModelFacts | None = None
    model_unknown: str = ""
    """Why `model` is missing although the download is complete."""
    warning: str = ""
    """What to know of the volume although the download is complete."""
    error: ReportedError | None = None

    @property
    def percent(self) -> int:
        """Of the bytes; 100 only when all are there."""
        return min(100, 100 * self.bytes_done // self.bytes_total) if self.bytes_total else 0


def to_annotation(report: DownloadReport) -> str:
    """Compact JSON; what equals its default is left out."""
    return json.dumps(codec.to_json(report), separators=(",", ":"), sort_keys=True)


def parse_annotation(text: str) -> DownloadReport | None:
    """The report in an annotation; None when there is none or it makes no sense."""
    if holds_more(text.encode(errors="replace"), REPORT_VALUES):
        return None
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return codec.read(DownloadReport, raw) if isinstance(raw, dict) else None
