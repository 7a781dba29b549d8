"""What fails and what of the spec is not applied: small checks in the order in which they are told."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.api.v1alpha1.modelcache import AccessMode
from app.api.v1alpha1.source import REPOSITORY, DownloadPolicy, named_repository
from app.contracts.download import ReportedError
from app.contracts.sources import SourceType
from app.kube.conditions import RETRY_SECONDS, ErrorClass, Finding, Reason, format_time, later, parse_time
from app.kube.names import REFRESH_ANNOTATION
from app.kube.quantity import parse_quantity
from app.modelcache.facts import Facts
from app.modelcache.observe import READ_ONLY_MANY, Copy
from app.modelcache.volume import VolumeKind
from app.policy import Chain
from app.source.folders import find_folder, home_folders

AGAIN = f"annotate {REFRESH_ANNOTATION}=<anything new>"


def path_forbidden(facts: Facts) -> Finding | None:
    """Whoever may write a folder of the nodes may write over what others have there."""
    path, allowed = facts.volume.host_path, facts.settings.host_path_prefixes
    if not path or find_folder(path, allowed, facts.namespace):
        return None
    homes = " or ".join(home_folders(allowed, facts.namespace))
    where = (
        f"{homes} and folders below. Use one of those, or a claim."
        if homes
        else "no folder: INFERENCE_HOST_PATH_PREFIXES is empty. Use a claim."
    )
    message = f"hostPath {path} is not allowed; the administrator allows namespace {facts.namespace} {where}"
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def claim_is_own(facts: Facts) -> Finding | None:
    """Nobody can take over a claim by naming it: it stays a child, and goes with its parent."""
    if not facts.own_claims:
        return None
    message = (
        f"PersistentVolumeClaim {facts.volume.claims[0]} was made by this ModelCache and is deleted with it, so it "
        "cannot be its existingClaim: leave existingClaim out, or name a claim that you made."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def claim_missing(facts: Facts) -> Finding | None:
    first = facts.first
    if facts.volume.kind is not VolumeKind.EXISTING_CLAIM or first is None or first.is_there:
        return None
    message = (
        f"PersistentVolumeClaim {first.claim_name} does not exist in namespace {facts.namespace}: create it, or leave "
        "out existingClaim and one is made."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def claim_lost(facts: Facts) -> Finding | None:
    lost = next((copy for copy in facts.copies if copy.is_lost), None)
    if lost is None:
        return None
    message = (
        f"PersistentVolumeClaim {lost.claim_name} has lost its volume, and the model with it: delete the claim, "
        "and a new one is made and filled."
    )
    return Finding(ErrorClass.PERMANENT, Reason.FAILED, message)


def download_failed(facts: Facts) -> Finding | None:
    return next((finding for copy in facts.copies if (finding := failure_of(copy))), None)


def failure_of(copy: Copy) -> Finding | None:
    """Why a copy's Job failed: in the downloader's words, else in those of the Job."""
    job, error_class = copy.job, error_class_of(copy)
    if job is None or error_class is None:
        return None
    error = job.report.error
    if error is None:
        silent = f"Job {copy.job_name} failed: {job.failure}. Its pods' logs say more."
        return Finding(error_class, Reason.FAILED, f"{silent} {_what_next(copy, error_class)}")
    reason = Reason.CONFIGURATION_ERROR if error_class is ErrorClass.CONFIGURATION else Reason.FAILED
    return Finding(error_class, reason, f"{said(error)} {_what_next(copy, error_class)}")


def error_class_of(copy: Copy) -> ErrorClass | None:
    """Of the failure of a copy's Job; None where it did not fail."""
    if copy.job is None or not copy.job.failure:
        return None
    return class_of(copy.job.report.error) if copy.job.report.error else ErrorClass.EXTERNAL


def said(error: ReportedError) -> str:
    """A fault in the downloader's words."""
    return f"{error.reason}: {error.message.rstrip('.')}."


def class_of(error: ReportedError) -> ErrorClass:
    """What the downloader says; a word that nobody knows is a fault that may pass."""
    try:
        return ErrorClass(error.error_class)
    except ValueError:
        return ErrorClass.EXTERNAL


def _what_next(copy: Copy, error: ErrorClass) -> str:
    moment = retry_at(copy, error)
    if moment:
        return f"It is tried again at {moment}; to try sooner, {AGAIN}."
    return f"It is not tried again by itself: edit the spec, or {AGAIN}."


def retry_at(copy: Copy, error: ErrorClass) -> str:
    """When a Job that used up its tries is made anew, RFC 3339; "" = only when somebody asks."""
    end = parse_time(copy.job.finished) if copy.job else None
    delay = RETRY_SECONDS.get(error)
    return format_time(later(end, delay)) if end and delay else ""


def size_shrunk(facts: Facts) -> Finding | None:
    there = _own_claim(facts, "size")
    if not there or parse_quantity(facts.size) >= parse_quantity(there):
        return None
    return _unapplied(facts, "size", there, facts.size)


def class_differs(facts: Facts) -> Finding | None:
    there, asked = _own_claim(facts, "storage_class"), facts.spec.storage_class
    return _unapplied(facts, "StorageClass", there, asked) if there and asked and there != asked else None


def repository_unknown(facts: Facts) -> Finding | None:
    """Without a source the model's name says where its weights are; a volume that is there may hold any."""
    spec = facts.spec
    if spec.source_type is not SourceType.HUGGINGFACE or (spec.source and spec.source.huggingface):
        return None
    if spec.download_policy is DownloadPolicy.NEVER or spec.existing_claim or spec.host_path:
        return None
    if re.fullmatch(REPOSITORY, named_repository(spec.model_name).repository):
        return None
    message = (
        f"modelName {spec.model_name} is no repository of the Hugging Face Hub (organisation/name), and without a "
        "source it has to be one: set source, or correct modelName."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def claim_read_only(facts: Facts) -> Finding | None:
    first = facts.first
    if first is None or not first.is_read_only or facts.spec.download_policy is DownloadPolicy.NEVER:
        return None
    message = (
        f"PersistentVolumeClaim {first.claim_name} is ReadOnlyMany, so nothing can be downloaded to it: set "
        "downloadPolicy to Never, which verifies the model that it holds."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def access_mode_differs(facts: Facts) -> Finding | None:
    first, asked = facts.first, facts.spec.access_mode.value
    there = first.claim.access_modes if first and first.claim else ()
    if facts.volume.kind is VolumeKind.EXISTING_CLAIM and READ_ONLY_MANY in there:
        return None  # the spec has no word for it: what the claim can do is read from the claim
    if facts.volume.kind is VolumeKind.EXISTING_CLAIM and there and asked not in there:
        message = (
            f"PersistentVolumeClaim {facts.volume.claims[0]} has access mode {', '.join(there)}, the spec says "
            f"{asked}: set accessMode to what the claim has."
        )
        return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)
    return _unapplied(facts, "access mode", ", ".join(there), asked) if there and asked not in there else None


def fields_unused_without_cache(facts: Facts) -> Finding | None:
    """Fields about a volume where there is none. `size` is the limit of the pods' own volumes."""
    spec = facts.spec
    if facts.volume.kind is not VolumeKind.NONE:
        return None
    values = {
        "downloadPolicy": spec.download_policy is not DownloadPolicy.IF_NOT_PRESENT,
        "refreshInterval": spec.refresh_interval is not None,
        "accessMode": spec.access_mode is not AccessMode.READ_WRITE_MANY,
        "storageClass": spec.storage_class is not None,
        "existingClaim": spec.existing_claim is not None,
        "hostPath": spec.host_path is not None,
        "caching.replicas": spec.caching.replicas > 1,
    }
    return _unused(values, "spec.caching.enabled is false, so every pod fetches the model once for itself")


def fields_unused_beside_volume(facts: Facts) -> Finding | None:
    """Fields about a volume that is made, where one is used that is there."""
    spec = facts.spec
    there = {VolumeKind.EXISTING_CLAIM: "existingClaim", VolumeKind.HOST_PATH: "hostPath"}.get(facts.volume.kind)
    if there is None:
        return None
    once = spec.access_mode is not AccessMode.READ_WRITE_MANY and facts.volume.kind is VolumeKind.HOST_PATH
    values = {"size": spec.size is not None, "caching.replicas": spec.caching.replicas > 1, "accessMode": once}
    return _unused(values, f"spec.{there} is used as it is, and nothing is made")


def _unused(values: Mapping[str, bool], why: str) -> Finding | None:
    names = [f"spec.{name}" for name, is_set in values.items() if is_set]
    if not names:
        return None
    verb = "is" if len(names) == 1 else "are"
    message = f"{' and '.join(names)} {verb} unused: {why}. Leave out what is unused to drop this notice."
    return Finding(ErrorClass.CONFIGURATION, Reason.PENDING, message)


def replicas_unused(facts: Facts) -> Finding | None:
    """Copies are for volumes that one node alone can mount."""
    replicas, made = facts.spec.caching.replicas, max(1, len(facts.copies))
    if facts.volume.kind is not VolumeKind.CLAIMS:
        return None
    if replicas <= made or facts.spec.access_mode is not AccessMode.READ_WRITE_MANY:
        return None
    where = f"volume {facts.first.claim_name or facts.volume.host_path}" if facts.first else "no volume"
    message = (
        f"spec.caching.replicas asks for {replicas} copies and is unused: all nodes read the one ReadWriteMany "
        f"{where}. Set it to 1 to drop this notice, or accessMode to ReadWriteOnce."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.PENDING, message)


def _own_claim(facts: Facts, field: str) -> str:
    """A value of the claim that was made for this cache."""
    own = facts.volume.kind is VolumeKind.CLAIMS and facts.first is not None
    claim = facts.first.claim if own and facts.first else None
    return str(getattr(claim, field)) if claim else ""


def _unapplied(facts: Facts, what: str, there: str, asked: str) -> Finding:
    message = (
        f"PersistentVolumeClaim {facts.volume.claims[0]} has {what} {there}, the spec asks for {asked}: a claim can "
        f"only grow in size. Set it back to {there}, or make a new ModelCache."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


OBSTACLES = Chain[Facts, Finding](
    repository_unknown,
    path_forbidden,
    claim_is_own,
    claim_missing,
    claim_read_only,
)
"""No Job is made while one of these holds."""
FAILURES = Chain[Facts, Finding](claim_lost, download_failed)
"""What comes after the obstacles."""
UNAPPLIED = Chain[Facts, Finding](
    size_shrunk,
    class_differs,
    access_mode_differs,
    replicas_unused,
    fields_unused_without_cache,
    fields_unused_beside_volume,
)
"""What of the spec is not done; the model is served all the same."""
