"""The source that a task names. Only its own library is loaded: together they would take more memory than the work."""

from __future__ import annotations

from app.downloader.fault import Fault
from app.downloader.listing import Source
from app.downloader.sources.credentials import require_secret
from app.downloader.task import Task
from app.kube.conditions import ErrorClass


def build_source(task: Task) -> Source:
    """The source of this task; with `copy_from` it is another volume."""
    if task.copy_from:
        from app.downloader.sources.volume import VolumeSource

        return VolumeSource(task.copy_from, task.path, task.model if task.policy == "Never" else "")
    require_secret(task)
    match task.source_type:
        case "huggingface":
            from app.downloader.sources.huggingface import HuggingFaceSource

            return HuggingFaceSource(task.source)
        case "s3":
            from app.downloader.sources.s3 import S3Source

            return S3Source(task.source)
        case "gcs":
            from app.downloader.sources.gcs import GCSSource

            return GCSSource(task.source)
        case "http":
            from app.downloader.sources.http import HTTPSource

            return HTTPSource(task.source)
    raise Fault(ErrorClass.CONFIGURATION, "BadSource", "Source type must be huggingface, s3, gcs or http.")
