"""Children and related objects -> the few facts that are read. Lenient: a malformed object counts as empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.api.object import Metadata
from app.api.v1alpha1 import gpuallocation, gpurequest, modelcache
from app.api.v1alpha1.gpuallocation import GPUAllocation, GPUAllocationSpec
from app.api.v1alpha1.gpurequest import GPURequest
from app.api.v1alpha1.inferenceservice_status import InferenceServiceStatus
from app.api.v1alpha1.modelcache import CopyStatus, ModelCache
from app.api.v1alpha1.source import SourceSpec
from app.contracts.sources import hub_name
from app.inferenceservice.names import cache_child_name, deployment_name, keys_name
from app.kube.conditions import find_condition
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at, value_at
from app.kube.manifest import Manifest, annotation, last_applied
from app.kube.names import LINE_IS_FULL, LINE_LABEL, SIZE_ANNOTATION, SIZE_FROM_SPEC
from app.metacontroller.protocol import SyncRequest

DEPLOYMENT = "Deployment.apps/v1"
LEADER_WORKER_SET = "LeaderWorkerSet.leaderworkerset.x-k8s.io/v1"
SERVICE = "Service.v1"
INGRESS = "Ingress.networking.k8s.io/v1"
JOB = "Job.batch/v1"
MODEL_CACHE = modelcache.KIND.key
GPU_REQUEST = gpurequest.KIND.key
GPU_ALLOCATION = gpuallocation.KIND.key


class WorkloadKind(StrEnum):
    DEPLOYMENT = "Deployment"
    LEADER_WORKER_SET = "LeaderWorkerSet"


@dataclass(frozen=True)
class WorkloadState:
    """The observed Deployment or LeaderWorkerSet; numbers count groups."""

    kind: WorkloadKind
    size: int
    """Pods of one group."""
    applied: Manifest
    """As last applied: answering it changes nothing."""
    asked: int
    """spec.replicas as it stands in the cluster, whoever wrote it."""
    running: int
    ready: int
    failure: str
    """What the workload says of its own failure, "" when it says nothing."""
    overdue: bool = False
    """Its failure is only that pods do not become ready in time."""
    is_rolling: bool = False
    """Pods of its previous template are still there."""

    @property
    def replicas_applied(self) -> bool:
        """Whether spec.replicas was ever applied by us: then leaving it out would reset it."""
        return "replicas" in self.applied.get("spec", {})

    @property
    def follows_spec(self) -> bool:
        """Whether the number that is asked for came from spec.replicas, and from no autoscaler or person since."""
        return annotation(self.applied, SIZE_ANNOTATION) == SIZE_FROM_SPEC


@dataclass(frozen=True)
class KeysState:
    """The Job that makes the ssh keys."""

    applied: Manifest
    complete: bool
    failure: str
    """Why it gave up, "" when it did not."""


@dataclass(frozen=True)
class CacheState:
    """What a ModelCache tells in its status, and the part of its spec that is the operator's choice."""

    name: str
    size: str
    storage_class: str
    phase: str
    progress: int | None
    usable: bool
    path: str
    claim: str
    version: str
    message: str
    model: str
    """Id of the model, as its source names it."""
    model_name: str
    source: Mapping[str, Any]
    access_mode: str
    keeps: bool
    """False: pods fetch the model themselves."""
    host_path: str
    copies: tuple[CopyStatus, ...]
    is_leaving: bool
    facts: Mapping[str, Any]
    """What was read from the weights themselves."""
    existing_claim: str = ""

    def made(self, claim: str) -> bool:
        """Whether the cache made this claim: those that it makes have its name."""
        own = claim == f"{self.name}-cache" or claim.startswith(f"{self.name}-cache-")
        return own and not self.existing_claim


@dataclass(frozen=True)
class Observed:
    """Everything a plan depends on besides the spec and the settings."""

    workloads: tuple[WorkloadState, ...] = ()
    cache: CacheState | None = None
    keys: KeysState | None = None
    distributed_possible: bool = True
    load_balancer: str = ""
    """Address of the Service's load balancer."""
    service_exists: bool = False
    ingress: Manifest | None = None
    """The Ingress as it stands."""
    pools_possible: bool = False
    """Whether the controller manages GPURequests, so that a pool can be asked."""
    request: GPURequest | None = None
    request_applied: Manifest | None = None
    """The same as it was last applied."""
    allocation: GPUAllocationSpec | None = None
    """What the pool decided about it."""
    line_is_full: bool = False
    """Too many services of the namespace wait for GPUs, as a pool says."""
    service: str = ""
    """Name of the InferenceService."""
    told_version: str = ""
    """Version of the weights that the previous status tells."""
    children: tuple[Manifest, ...] = field(default=(), repr=False)

    @property
    def is_held_back(self) -> bool:
        """Whether it does not ask yet, because too many wait. What has asked, or runs, is always told to the pool."""
        return self.line_is_full and self.request is None and not self.workloads

    def workload(self, kind: WorkloadKind) -> WorkloadState | None:
        return next((state for state in self.workloads if state.kind is kind), None)


def parse_observed(request: SyncRequest, cache_name: str | None, source: Mapping[str, Any] | None) -> Observed:
    """The facts of one sync request; `cache_name` is the ModelCache the spec refers to, if any, and `source` what the
    service's own is to fetch."""
    name = request.parent.name
    deployment = request.child(DEPLOYMENT, deployment_name(name))
    group = request.child(LEADER_WORKER_SET, name)
    service, asked = request.child(SERVICE, name), request.child(GPU_REQUEST, name)
    decided = request.related_object(GPU_ALLOCATION, name)
    return Observed(
        workloads=tuple(
            _workload(kind, found)
            for kind, found in (
                (WorkloadKind.DEPLOYMENT, deployment),
                (WorkloadKind.LEADER_WORKER_SET, group),
            )
            if found is not None
        ),
        cache=_cache(request, cache_name, source),
        keys=_keys(request.child(JOB, keys_name(name))),
        distributed_possible=request.manages(LEADER_WORKER_SET),
        load_balancer=_address(service or {}),
        service_exists=service is not None,
        ingress=request.child(INGRESS, name),
        pools_possible=request.manages(GPU_REQUEST),
        request=GPURequest.read(asked) if asked else None,
        request_applied=last_applied(asked) if asked else None,
        allocation=GPUAllocation.read(decided).spec if decided else None,
        line_is_full=_line_is_full(request),
        service=name,
        told_version=_told_version(request),
        children=tuple(request.observed_children()),
    )


def _told_version(request: SyncRequest) -> str:
    model = InferenceServiceStatus.read(request.parent.status).model_status
    return (model.version if model else None) or ""


def _line_is_full(request: SyncRequest) -> bool:
    """Whether a pool says that too many services of this namespace wait already (app/gpupool/line.py)."""
    found = (Metadata.read(it.get("metadata")) for it in request.related.get(GPU_ALLOCATION, {}).values())
    here = (it for it in found if it.namespace == request.parent.namespace)
    return any(it.labels.get(LINE_LABEL) == LINE_IS_FULL for it in here)


def _workload(kind: WorkloadKind, observed: Manifest) -> WorkloadState:
    asked = value_at(observed, "spec", "replicas")
    failure, overdue = _failure(mappings_at(observed, "status", "conditions"))
    return WorkloadState(
        kind=kind,
        size=count_at(observed, "spec", "leaderWorkerTemplate", "size") or 1,
        applied=last_applied(observed),
        asked=1 if asked is None else max(0, count_at(observed, "spec", "replicas")),
        running=count_at(observed, "status", "replicas"),
        ready=count_at(observed, "status", "readyReplicas"),
        failure=failure,
        overdue=overdue,
        is_rolling=_is_rolling(observed),
    )


def _is_rolling(workload: Manifest) -> bool:
    """A new template that its controller has not read yet, or that not all groups have."""
    generation = count_at(workload, "metadata", "generation")
    seen = count_at(workload, "status", "observedGeneration")
    updated = count_at(workload, "status", "updatedReplicas")
    return 0 < seen < generation or updated < count_at(workload, "status", "replicas")


def _failure(conditions: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """A Deployment tells of pods or a ReplicaSet that it may not create, and of a rollout that does not come to an end;
    the latter says nothing of the cause."""
    refused = find_condition(conditions, "ReplicaFailure")
    stuck = find_condition(conditions, "Progressing")
    if refused.get("status") == "True":
        return f"{refused.get('reason', 'FailedCreate')}: {refused.get('message', 'pods cannot be created')}", False
    if stuck.get("status") == "False" and stuck.get("reason") in ("ProgressDeadlineExceeded", "ReplicaSetCreateError"):
        overdue = stuck["reason"] == "ProgressDeadlineExceeded"
        return f"{stuck['reason']}: {stuck.get('message', 'pods do not become ready')}", overdue
    return "", False


def _keys(job: Manifest | None) -> KeysState | None:
    if job is None:
        return None
    conditions = mappings_at(job, "status", "conditions")
    failed = find_condition(conditions, "Failed")
    failure = f"{failed.get('reason', 'Failed')}: {failed.get('message', '')}" if failed.get("status") == "True" else ""
    complete = find_condition(conditions, "Complete").get("status") == "True"
    return KeysState(last_applied(job), complete, failure)


def _cache(request: SyncRequest, referenced: str | None, source: Mapping[str, Any] | None) -> CacheState | None:
    """The cache that the spec means. What its status says counts once it is about the spec as it is, and about the
    source that the service names: until then pods would read the model of before."""
    name = referenced or cache_child_name(request.parent.name)
    made = request.child(MODEL_CACHE, name) if source is not None else None
    found = request.related_object(MODEL_CACHE, name) if referenced else made
    if found is None:
        return None
    ready = find_condition(mappings_at(found, "status", "conditions"), "Ready")
    cache = ModelCache.read(found)
    spec, status = cache.spec, cache.status
    same = bool(referenced) or SourceSpec.read(source) == cache.spec.source
    is_current = same and _is_settled(found)
    return CacheState(
        name=name,
        size=text_at(found, "spec", "size"),  # as it was written: pods have it in their templates
        storage_class=spec.storage_class or "",
        phase=(status.phase if is_current else None) or "Pending",
        progress=status.download_progress if is_current else None,
        usable=is_current and ready.get("status") == "True" and bool(status.path),
        path=status.path or "",
        claim=status.claim_name or f"{name}-cache",
        version=status.version or "",
        message=str(ready.get("message", "")) if is_current else "its spec has changed",
        model=_model_id(cache) if same else "",
        model_name=spec.model_name,
        source=mapping_at(found, "spec", "source"),
        access_mode=status.access_mode or spec.access_mode or "ReadWriteMany",
        keeps=spec.caching.enabled is not False,
        host_path=status.host_path or "",
        copies=tuple(it for it in status.copies or () if it.claim_name),
        is_leaving=bool(cache.metadata.deletion_timestamp),
        facts=(status.model if same else None) or {},
        existing_claim=spec.existing_claim or "",
    )


def _is_settled(cache: Manifest) -> bool:
    """Whether the status is about the spec as it is; Metacontroller writes which generation it saw."""
    seen = count_at(cache, "status", "observedGeneration")
    return not 0 < seen < count_at(cache, "metadata", "generation")


def _model_id(cache: ModelCache) -> str:
    """The repository where there is one; else the name that the cache gives its model."""
    hub = cache.spec.source.huggingface if cache.spec.source else None
    return hub_name(hub.repository if hub else cache.spec.model_name).partition("@")[0]


def _address(service: Mapping[str, Any]) -> str:
    points = mappings_at(service, "status", "loadBalancer", "ingress")
    return next((text_at(point, "hostname") or text_at(point, "ip") for point in points), "")
