"""Where the groups stand: counted by the workload, explained by the agent."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.v1alpha1.gpurequest import PodFailure
from app.inferenceservice.facts import Facts
from app.inferenceservice.observe import WorkloadKind, WorkloadState
from app.inferenceservice.plan import Plan, Serve
from app.kube.conditions import ErrorClass, Reason
from app.kube.refusal import find_refusal

UNSCHEDULABLE = "Unschedulable"
"""The agent's word for a pod that no node takes."""
NOT_CREATED = "NotCreated"
"""Its word for a pod of a LeaderWorkerSet that may not be made."""
VOLUME = "Volume"
"""Its word for a pod that waits for a volume."""
MULTI_ATTACH = "Multi-Attach"
"""Kubernetes' word for a ReadWriteOnce volume that another node has."""


@dataclass(frozen=True)
class Failure:
    """Why groups are not ready."""

    message: str
    error: str
    """Class of the error."""
    reason: Reason = Reason.FAILED
    waits: bool = False
    """It may pass by itself, as a pod that no node takes yet."""


@dataclass(frozen=True)
class Progress:
    """Numbers of groups."""

    asked: int
    running: int
    ready: int
    failure: Failure | None

    @property
    def serving(self) -> bool:
        return self.ready > 0

    @property
    def counts(self) -> str:
        return f"{self.ready} of {self.asked} {'group is' if self.asked == 1 else 'groups are'} ready"


def find_current(facts: Facts) -> WorkloadState | None:
    """The workload that answers requests now; during a change of kind that may be the old one."""
    states = facts.observed.workloads
    return facts.observed.workload(facts.kind) or (states[0] if states else None)


def find_progress(plan: Plan, facts: Facts) -> Progress:
    """Counts of the workload that answers requests now."""
    current = find_current(facts)
    asked = (plan.replicas if isinstance(plan, Serve) else None) or (current.asked if current else 1)
    if isinstance(plan, Serve) and plan.replicas == 0:
        asked = 0
    if current is None:
        return Progress(asked, 0, 0, None)
    return Progress(asked, current.running, current.ready, _failure(current, facts))


def _failure(current: WorkloadState, facts: Facts) -> Failure | None:
    """Where no pod may be made, the workload says why; else a pod's own cause says most."""
    told = facts.observed.request.status.failures if facts.observed.request else []
    first = next((it for it in told if _is_of(it, current)), None)
    if current.failure and not (current.overdue and first):
        remedy = find_refusal(current.failure)
        said = f"{current.failure.rstrip('. ')}; {remedy.advice}" if remedy.advice else current.failure
        error = ErrorClass.RESOURCE if current.overdue else remedy.error
        return Failure(said, error, _refusal_reason(current.failure, facts))
    return _pod_failure(first, facts) if first else None


def _is_of(failure: PodFailure, current: WorkloadState) -> bool:
    """A Deployment says itself that it may not make pods: a StatefulSet of that name is another's."""
    return failure.reason != NOT_CREATED or current.kind is WorkloadKind.LEADER_WORKER_SET


def _refusal_reason(said: str, facts: Facts) -> Reason:
    """A quota that is used up names its resource."""
    resource = facts.spec.gpu_resource(facts.settings.gpu_resource)
    return Reason.INSUFFICIENT_GPU if resource in said else Reason.FAILED


def _pod_failure(failure: PodFailure, facts: Facts) -> Failure:
    if failure.reason == NOT_CREATED:
        return Failure(failure.message, failure.error, _refusal_reason(failure.message, facts))
    gpus_missing = failure.reason == UNSCHEDULABLE
    shared = gpus_missing or MULTI_ATTACH in failure.message
    near = f" {facts.neighbour.message}." if shared and facts.neighbour else ""
    passes = failure.reason == VOLUME and failure.error != ErrorClass.CONFIGURATION
    reason = Reason.INSUFFICIENT_GPU if gpus_missing else Reason.FAILED
    return Failure(f"{failure.message}{near}", failure.error, reason, waits=gpus_missing or passes)
