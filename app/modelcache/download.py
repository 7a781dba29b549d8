"""What a spec asks to be downloaded: two names, each the hash of exactly what it must change with.

- `path`, the folder on the volume, changes with the model and its content: source, revision, patterns, checksum.
- `job_name` changes also with what may make a new try worthwhile: policy, credentials, region, refresh annotation.

Neither depends on images or settings, so an upgrade downloads nothing. Values equal to their default are left out of
the hashes, so neither does a new defaulted field of a later CRD.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from app.api.v1alpha1.modelcache import ModelCacheSpec
from app.api.v1alpha1.source import DownloadPolicy, SourceMember
from app.kube.names import label_value, short_hash
from app.source.container import DownloadTask


@dataclass(frozen=True)
class Download:
    """One download: its Job, and what it fetches."""

    job_name: str
    task: DownloadTask

    @property
    def path(self) -> str:
        return self.task.path

    @property
    def revision(self) -> str | None:
        """The revision asked for; None where the source has none."""
        return getattr(self.task.source, "revision", None)


def plan_download(cache: str, spec: ModelCacheSpec, refresh: str) -> Download:
    """The download that a ModelCache of this name, spec and refresh annotation asks for."""
    path = _path(spec)
    task = DownloadTask(spec.model_name, spec.source_type, spec.source_member, path, spec.download_policy)
    return Download(_job_name(cache, _job_hash(path, spec, refresh)), task)


def is_folder_of(path: str, wanted: str) -> bool:
    """Whether this is the folder, or one beside it for content that changed. Reports come from pods, and what they
    name is mounted by services: nothing else will do."""
    return path == wanted or (path.startswith(f"{wanted}@") and path.removeprefix(f"{wanted}@").isalnum())


def copy_job_name(cache: str, download: Download, index: int, path: str) -> str:
    """The Job that fills a further copy from the first one, once that holds this folder."""
    return _job_name(cache, short_hash(f"{download.job_name}/{index}/{path}"))


def _job_name(cache: str, suffix: str) -> str:
    return f"{cache}-download-{suffix}"


def _path(spec: ModelCacheSpec) -> str:
    member = spec.source_member
    identity = {"type": spec.source_type.value, **_said(member, {member.secret_field, *member.access_fields})}
    return f"{label_value(spec.model_name) or 'model'}-{short_hash(_canonical(identity))}"


def _job_hash(path: str, spec: ModelCacheSpec, refresh: str) -> str:
    policy = {} if spec.download_policy is DownloadPolicy.IF_NOT_PRESENT else {"policy": spec.download_policy.value}
    again = {"refresh": refresh} if refresh else {}
    return short_hash(_canonical({"path": path, "source": _said(spec.source_member), **policy, **again}))


def _said(source: SourceMember, less: set[str] | None = None) -> dict[str, object]:
    return source.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True, exclude=less)


def _canonical(value: dict[str, object]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
