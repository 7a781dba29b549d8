"""Plan + progress -> the conditions and the phase."""

from __future__ import annotations

from app.api.v1alpha1.inferenceservice import ServiceType
from app.inferenceservice.facts import Facts
from app.inferenceservice.grant import told_given_back
from app.inferenceservice.plan import Blocked, Plan, Serve, Wait
from app.inferenceservice.status.allocation import Layout, find_assignment, find_layout
from app.inferenceservice.status.progress import Progress
from app.kube.conditions import Condition, ErrorClass, Finding, Reason, Status, listed


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
    return "Failed" if progress.failure and not progress.failure.waits else "Starting"


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
        notes = f"{_notes(plan)}{_given_back(facts)}"
        return _condition("Ready", Status.TRUE, Reason.INFERENCE_READY, f"{message}{notes}")
    if progress.asked == 0:
        return _condition("Ready", Status.FALSE, Reason.SCALED_TO_ZERO, "spec.replicas is 0: no group runs")
    if progress.failure:
        said = f"{progress.counts}: {progress.failure.message}"
        notes = _notes(plan)
        message = f"{said.rstrip('.')}{notes}" if notes else said
        message = f"{message} [{progress.failure.error}]{_given_back(facts)}"
        return _condition("Ready", Status.FALSE, progress.failure.reason, message)
    message = f"{progress.counts}; pods are being scheduled, or load the model{_notes(plan)}{_given_back(facts)}"
    return _condition("Ready", Status.FALSE, Reason.IN_PROGRESS, message)


def _given_back(facts: Facts) -> str:
    """Said beside whatever else is true: the workload may serve with the groups that it has."""
    allocation = facts.observed.allocation
    given_back = told_given_back(allocation) if allocation else ""
    return f"; {given_back}" if given_back else ""


def _notes(plan: Plan) -> str:
    """Warnings about arguments do not stop anything, but are said where people look."""
    warnings = plan.warnings if isinstance(plan, Serve) else ()
    return f"; {listed(warnings)}" if warnings else ""


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


def gpu_condition(plan: Plan, facts: Facts, progress: Progress, layout: Layout | None) -> Condition:
    """The pool grants GPUs and the kube-scheduler gives them; a ready group has its own."""
    finding = _finding(plan)
    if finding and not progress.serving:
        return _condition("GPUAllocated", Status.FALSE, finding.reason, finding.message)
    text = f"each group uses {find_layout(facts)}{find_assignment(layout)}"
    if progress.serving:
        kept = "what runs was built from an earlier spec" if finding else text
        return _condition("GPUAllocated", Status.TRUE, Reason.SUCCESSFUL, kept)
    if progress.asked == 0:
        return _condition("GPUAllocated", Status.FALSE, Reason.SCALED_TO_ZERO, "no group runs")
    if progress.failure:
        reason = progress.failure.reason
        status = Status.FALSE if reason is Reason.INSUFFICIENT_GPU else Status.UNKNOWN
        return _condition("GPUAllocated", status, reason, f"{text}; {progress.failure.message}")
    return _condition("GPUAllocated", Status.UNKNOWN, Reason.PENDING, f"{text}; the scheduler looks for nodes")


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
    return _condition("ServiceReady", Status.TRUE, Reason.SUCCESSFUL, f"requests go to {internal_url(facts)}")


def healthy_condition(plan: Plan, progress: Progress) -> Condition:
    """All groups that should run pass their health checks."""
    if progress.asked and progress.ready >= progress.asked:
        return _condition("Healthy", Status.TRUE, Reason.SUCCESSFUL, progress.counts)
    if progress.failure:
        message = f"{progress.counts}: {progress.failure.message}"
        return _condition("Healthy", Status.FALSE, Reason.FAILED, message)
    if progress.serving:
        return _condition("Healthy", Status.FALSE, Reason.IN_PROGRESS, progress.counts)
    return _condition("Healthy", Status.UNKNOWN, Reason.PENDING, "no group has become healthy yet")


def _condition(kind: str, status: Status, reason: Reason, message: str) -> Condition:
    return Condition(kind, status, reason, message)


def internal_url(facts: Facts) -> str:
    """Where clients inside the cluster reach the service."""
    identity = facts.identity
    return f"http://{identity.name}.{identity.namespace}.svc:{facts.spec.networking.ports.http}"
