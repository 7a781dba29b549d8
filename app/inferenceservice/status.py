"""Observed + plan + previous status + now -> status.

Everything here is derived at each call. Nothing changes unless something happened: times move only with a status,
and messages quote counts, never durations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from app.crd import ConditionList, Model
from app.inferenceservice.observed import WorkloadKind, WorkloadState
from app.inferenceservice.plan import Blocked, Facts, Plan, Serve, Wait
from app.inferenceservice.spec import ServiceType, Sharing
from app.inferenceservice.update import update_condition
from app.kube.conditions import Condition, ErrorClass, Finding, Reason, Status
from app.kube.manifest import annotation
from app.kube.names import DECISION_ANNOTATION, LEADER, ROLE_LABEL, SERVICE_LABEL
from app.topology.parallelism import Shape, plan_shape


class EndpointsStatus(Model):
    """Addresses of the service."""

    internal: str | None = Field(None, description="URL inside the cluster.")
    external: str | None = Field(None, description="URL from outside, by ingress or load balancer.")


class ResourceUsageStatus(Model):
    """Use of resources, where something reports it."""

    gpu_utilization: int | None = Field(None, description="GPU utilisation in %.")
    memory_usage: str | None = Field(None, description="Memory in use.")


class ModelStatus(Model):
    """The model in the serving processes."""

    loaded: bool | None = Field(None, description="Whether at least one group has loaded it.")
    load_time: str | None = Field(None, description="Time from start to ready.")
    version: str | None = Field(None, description="Revision of the weights.")


class DistributedStatus(Model):
    """Ready pods of distributed groups."""

    leader_ready: int | None = Field(None, description="Leaders of ready groups.")
    workers_ready: int | None = Field(None, description="Workers of ready groups.")


class AllocationStatus(Model):
    """How the GPUs of one group are used."""

    gpus: int | None = Field(None, description="GPUs of one group.")
    nodes: int | None = Field(None, description="Nodes of one group.")
    gpus_per_node: int | None = Field(None, description="GPUs on each node.")
    tensor_parallel: int | None = Field(None, description="Tensor parallel size.")
    pipeline_parallel: int | None = Field(None, description="Pipeline parallel size.")
    data_parallel: int | None = Field(None, description="Data parallel size.")
    summary: str | None = Field(None, description="All of it in a few characters.")


class InferenceServiceStatus(Model):
    """What became of the spec."""

    phase: str | None = Field(None, description="Pending, Starting, Ready, Degraded or Failed.")
    replicas: int | None = Field(None, description="Groups that exist.")
    ready_replicas: int | None = Field(None, description="Groups that answer requests.")
    selector: str | None = Field(None, description="Selects the leaders; for the scale subresource.")
    endpoints: EndpointsStatus | None = Field(None, description="Addresses of the service.")
    allocation: AllocationStatus | None = Field(None, description="How the GPUs of one group are used.")
    distributed: DistributedStatus | None = Field(None, description="Ready pods of distributed groups.")
    resource_usage: ResourceUsageStatus | None = Field(None, description="Use of resources.")
    model_status: ModelStatus | None = Field(None, description="The model in the serving processes.")
    conditions: ConditionList = Field([], description="Observations, one of each type.")


@dataclass(frozen=True)
class Progress:
    """Where the groups stand."""

    asked: int
    running: int
    ready: int
    failure: str

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
        return Progress(asked, 0, 0, "")
    return Progress(asked, current.running, current.ready, current.failure)


def build_status(
    plan: Plan, facts: Facts, unmanaged: Finding | None, conflict: Condition
) -> tuple[dict[str, Any], list[Condition]]:
    """Status without conditions, and the conditions without their times; `unmanaged` is what cannot be sent."""
    progress = find_progress(plan, facts)
    problem = find_problem(plan, unmanaged, conflict)
    conditions = [
        ready_condition(plan, facts, progress, problem),
        model_condition(plan, facts, progress),
        gpu_condition(plan, facts, progress),
        service_condition(facts, progress),
        healthy_condition(plan, progress),
        update_condition(plan, facts),
        conflict,
    ]
    status: dict[str, Any] = {
        "phase": find_phase(plan, progress, problem),
        "replicas": progress.running,
        "readyReplicas": progress.ready,
        "selector": f"{SERVICE_LABEL}={facts.identity.name},{ROLE_LABEL}={LEADER}",
        "endpoints": _endpoints(facts),
        "modelStatus": _model_status(facts, progress),
    }
    return {**status, **_allocation(facts), **_distributed(facts, progress)}, conditions


def find_problem(plan: Plan, unmanaged: Finding | None, conflict: Condition) -> Finding | None:
    """The first thing that keeps the cluster from being what the spec asks for."""
    missing = Finding(ErrorClass.PERMANENT, conflict.reason, conflict.message)
    return unmanaged or _finding(plan) or (missing if conflict.status is Status.TRUE else None)


def find_phase(plan: Plan, progress: Progress, problem: Finding | None) -> str:
    """One word for the first column; Ready only together with the condition."""
    if progress.serving:
        return "Degraded" if problem else "Ready"
    if problem:
        waits = isinstance(plan, Wait) and problem is plan.finding and problem.reason is not Reason.FAILED
        return "Pending" if waits else "Failed"
    if progress.asked == 0:
        return "Pending"
    return "Failed" if progress.failure else "Starting"


def _finding(plan: Plan) -> Finding | None:
    return plan.finding if isinstance(plan, Wait | Blocked) else None


def ready_condition(plan: Plan, facts: Facts, progress: Progress, problem: Finding | None) -> Condition:
    """The headline. A broken edit makes it False even while the previous spec goes on serving: the message says so."""
    if problem:
        goes_on = problem is _finding(plan) and facts.observed.workloads
        kept = f"; what ran before goes on: {progress.counts}" if goes_on else ""
        return _condition("Ready", Status.FALSE, problem.reason, f"{problem.message}{kept} [{problem.error}]")
    if progress.serving:
        message = f"Inference service is ready and accepting requests: {progress.counts}"
        return _condition("Ready", Status.TRUE, Reason.INFERENCE_READY, f"{message}{_notes(plan)}")
    if progress.asked == 0:
        return _condition("Ready", Status.FALSE, Reason.SCALED_TO_ZERO, "spec.replicas is 0: no group runs")
    if progress.failure:
        message = f"{progress.failure} [{ErrorClass.RESOURCE}]"
        return _condition("Ready", Status.FALSE, _failure_reason(facts, progress), message)
    message = f"{progress.counts}; pods are being scheduled, or load the model{_notes(plan)}"
    return _condition("Ready", Status.FALSE, Reason.IN_PROGRESS, message)


def _failure_reason(facts: Facts, progress: Progress) -> Reason:
    """A quota that is used up names its resource."""
    return Reason.INSUFFICIENT_GPU if facts.settings.gpu_resource in progress.failure else Reason.FAILED


def _notes(plan: Plan) -> str:
    """Warnings about arguments do not stop anything, but are said where people look."""
    return "".join(f"; {warning}" for warning in plan.warnings) if isinstance(plan, Serve) else ""


def model_condition(plan: Plan, facts: Facts, progress: Progress) -> Condition:
    """vLLM answers /health only when the weights are loaded, so a ready group has them."""
    name = facts.spec.model.name
    if progress.serving:
        return _condition("ModelLoaded", Status.TRUE, Reason.SUCCESSFUL, f"{name} is loaded")
    finding = _finding(plan)
    if finding:
        return _condition("ModelLoaded", Status.FALSE, finding.reason, finding.message)
    if progress.asked == 0:
        return _condition("ModelLoaded", Status.FALSE, Reason.SCALED_TO_ZERO, "no group runs")
    return _condition("ModelLoaded", Status.FALSE, Reason.IN_PROGRESS, f"no group has loaded {name} yet")


def gpu_condition(plan: Plan, facts: Facts, progress: Progress) -> Condition:
    """The kube-scheduler grants GPUs; a ready group has its own."""
    finding = _finding(plan)
    if finding and not progress.serving:
        return _condition("GPUAllocated", Status.FALSE, finding.reason, finding.message)
    text = f"each group uses {facts.settings.gpu_resource}: {_layout(facts)}{_exclusive(facts)}"
    if progress.serving:
        kept = "what runs was built from an earlier spec" if finding else text
        return _condition("GPUAllocated", Status.TRUE, Reason.SUCCESSFUL, kept)
    if progress.asked == 0:
        return _condition("GPUAllocated", Status.FALSE, Reason.SCALED_TO_ZERO, "no group runs")
    if progress.failure:
        reason = _failure_reason(facts, progress)
        status = Status.FALSE if reason is Reason.INSUFFICIENT_GPU else Status.UNKNOWN
        return _condition("GPUAllocated", status, reason, f"{text}; {progress.failure}")
    return _condition("GPUAllocated", Status.UNKNOWN, Reason.PENDING, f"{text}; the scheduler looks for nodes")


def _layout(facts: Facts) -> str:
    """As it was decided when the workload was built, by today's operator or an earlier one."""
    current = find_current(facts)
    decided = annotation(current.applied, DECISION_ANNOTATION) if current else ""
    return decided or str(plan_shape(facts.spec.demand))


def _exclusive(facts: Facts) -> str:
    wanted = facts.spec.sharing or Sharing(facts.settings.sharing)
    return "; exclusive use of the nodes is not enforced by this version" if wanted is Sharing.EXCLUSIVE else ""


def service_condition(facts: Facts, progress: Progress) -> Condition:
    if not facts.observed.service_exists:
        return _condition("ServiceReady", Status.FALSE, Reason.PENDING, f"Service {facts.identity.name} is being made")
    balanced = facts.spec.networking.service_type is ServiceType.LOAD_BALANCER
    if balanced and not facts.observed.load_balancer:
        message = f"Service {facts.identity.name} has no address from the load balancer yet"
        return _condition("ServiceReady", Status.FALSE, Reason.PENDING, message)
    if not progress.serving:
        message = f"Service {facts.identity.name} has no ready endpoint"
        return _condition("ServiceReady", Status.FALSE, Reason.PENDING, message)
    return _condition("ServiceReady", Status.TRUE, Reason.SUCCESSFUL, f"requests go to {_internal_url(facts)}")


def healthy_condition(plan: Plan, progress: Progress) -> Condition:
    """All groups that should run pass their health checks."""
    if progress.asked and progress.ready >= progress.asked:
        return _condition("Healthy", Status.TRUE, Reason.SUCCESSFUL, progress.counts)
    if progress.failure:
        return _condition("Healthy", Status.FALSE, Reason.FAILED, progress.failure)
    if progress.serving:
        return _condition("Healthy", Status.FALSE, Reason.IN_PROGRESS, progress.counts)
    return _condition("Healthy", Status.UNKNOWN, Reason.PENDING, "no group has become healthy yet")


def _condition(kind: str, status: Status, reason: Reason, message: str) -> Condition:
    return Condition(kind, status, reason, message)


def _internal_url(facts: Facts) -> str:
    identity = facts.identity
    return f"http://{identity.name}.{identity.namespace}.svc:{facts.spec.networking.ports.http}"


def _endpoints(facts: Facts) -> dict[str, str]:
    ingress, balancer = facts.spec.networking.ingress, facts.observed.load_balancer
    host = f"[{balancer}]" if ":" in balancer else balancer
    external = f"http://{host}:{facts.spec.networking.ports.http}" if balancer else ""
    if ingress.enabled:
        external = ingress.url
    return {"internal": _internal_url(facts)} | ({"external": external} if external else {})


def _model_status(facts: Facts, progress: Progress) -> dict[str, Any]:
    cache = facts.observed.cache
    version = {"version": cache.version} if cache and cache.version else {}
    return {"loaded": progress.serving} | version


def _allocation(facts: Facts) -> Mapping[str, Any]:
    shape = plan_shape(facts.spec.demand)
    if not isinstance(shape, Shape):
        return {}
    return {
        "allocation": {
            "gpus": shape.gpus,
            "nodes": shape.nodes,
            "gpusPerNode": shape.gpus_per_node,
            "tensorParallel": shape.tensor,
            "pipelineParallel": shape.pipeline,
            "dataParallel": shape.data,
            "summary": f"{shape.nodes}x{shape.gpus_per_node} TP{shape.tensor} PP{shape.pipeline} DP{shape.data}",
        }
    }


def _distributed(facts: Facts, progress: Progress) -> Mapping[str, Any]:
    """LWS counts whole groups: a ready group has its leader and all its workers."""
    current = find_current(facts)
    if current is None or current.kind is not WorkloadKind.LEADER_WORKER_SET:
        return {}
    return {"distributed": {"leaderReady": progress.ready, "workersReady": progress.ready * (current.size - 1)}}
