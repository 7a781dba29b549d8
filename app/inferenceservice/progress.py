"""Where the groups stand: counted by the workload, explained by the agent."""

from __future__ import annotations

from dataclasses import dataclass

from app.inferenceservice.facts import Facts
from app.inferenceservice.observed import WorkloadState
from app.inferenceservice.plan import Plan, Serve
from app.kube.conditions import ErrorClass, Reason

UNSCHEDULABLE = "Unschedulable"
"""The agent's word for a pod that no node takes."""


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
    """A pod's own cause says most; where no pod may be made, the workload says why."""
    if current.failure:
        resource = facts.spec.gpu_resource(facts.settings.gpu_resource)
        named = resource in current.failure  # a quota that is used up names its resource
        return Failure(current.failure, ErrorClass.RESOURCE, Reason.INSUFFICIENT_GPU if named else Reason.FAILED)
    request = facts.observed.request
    if request is None or not request.failures:
        return None
    first = request.failures[0]
    gpus_missing = first.reason == UNSCHEDULABLE
    reason = Reason.INSUFFICIENT_GPU if gpus_missing else Reason.FAILED
    near = f" {facts.neighbour.message}." if gpus_missing and facts.neighbour else ""
    return Failure(f"{first.message}{near}", first.error, reason, waits=gpus_missing)
