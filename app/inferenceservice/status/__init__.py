"""Observed + plan + previous status + now -> status.

Everything here is derived at each call. Nothing changes unless something happened: times move only with a status,
and messages quote counts, never durations.
"""

from __future__ import annotations

from typing import Any

from app.api.v1alpha1.inferenceservice_status import (
    AllocationStatus,
    DistributedStatus,
    EndpointsStatus,
    InferenceServiceStatus,
    ModelStatus,
)
from app.inferenceservice.facts import Facts
from app.inferenceservice.observe import WorkloadKind
from app.inferenceservice.plan import Plan
from app.inferenceservice.status.allocation import Layout, plan_layout
from app.inferenceservice.status.conditions import (
    find_phase,
    find_problem,
    gpu_condition,
    healthy_condition,
    internal_url,
    model_condition,
    ready_condition,
    service_condition,
)
from app.inferenceservice.status.progress import Progress, find_current, find_progress
from app.inferenceservice.status.unused_fields import applied_conditions
from app.inferenceservice.status.update_available import update_condition
from app.inferenceservice.status.version import find_version
from app.kube.conditions import Condition, Finding
from app.kube.manifest import Manifest, emit
from app.kube.names import LEADER, ROLE_LABEL, SERVICE_LABEL


def build_status(
    plan: Plan, facts: Facts, today: Manifest | None, unmanaged: Finding | None, conflict: Condition
) -> tuple[dict[str, Any], list[Condition]]:
    """Status without conditions, and the conditions without their times; `today` is the workload of today's
    decision, `unmanaged` what cannot be sent."""
    progress, layout = find_progress(plan, facts), plan_layout(facts)
    problem = find_problem(plan, unmanaged, conflict)
    conditions = [
        ready_condition(plan, facts, progress, problem),
        model_condition(plan, facts, progress),
        gpu_condition(plan, facts, progress, layout),
        service_condition(facts, progress),
        healthy_condition(plan, progress),
        update_condition(plan, facts, today),
        conflict,
        *applied_conditions(facts),
    ]
    status = InferenceServiceStatus(
        phase=find_phase(plan, progress, problem),
        replicas=progress.running,
        ready_replicas=progress.ready,
        selector=f"{SERVICE_LABEL}={facts.identity.name},{ROLE_LABEL}={LEADER}",
        endpoints=_endpoints(facts),
        allocation=_allocation(facts, layout),
        distributed=_distributed(facts, progress),
        model_status=_model_status(facts, progress),
    )
    return emit(status), conditions


def _endpoints(facts: Facts) -> EndpointsStatus:
    ingress, balancer = facts.spec.networking.ingress, facts.observed.load_balancer
    host = f"[{balancer}]" if ":" in balancer else balancer
    external = f"http://{host}:{facts.spec.networking.ports.http}" if balancer else None
    return EndpointsStatus(internal=internal_url(facts), external=ingress.url if ingress.enabled else external)


def _model_status(facts: Facts, progress: Progress) -> ModelStatus:
    request = facts.observed.request
    seconds = request.status.load_seconds if request and progress.serving else None
    load_time = None if seconds is None else f"{seconds}s"
    return ModelStatus(loaded=progress.serving, load_time=load_time, version=find_version(facts) or None)


def _allocation(facts: Facts, layout: Layout | None) -> AllocationStatus | None:
    """The sizes, and what the pool said; the memory is of the product that it granted."""
    if layout is None:
        return None
    sizes, nodes, per_node = layout.parallelism, facts.spec.nodes, facts.spec.gpus_per_node
    allocation = layout.allocation
    granted = allocation.shape if allocation else None
    fit = facts.need.find_fit(granted.product or "") if facts.need and granted else None
    return AllocationStatus(
        gpus=nodes * per_node,
        nodes=nodes,
        gpus_per_node=per_node,
        tensor_parallel=sizes.tensor,
        pipeline_parallel=sizes.pipeline,
        data_parallel=sizes.data,
        summary=f"{nodes}x{per_node} TP{sizes.tensor} PP{sizes.pipeline} DP{sizes.data}",
        product=granted.product if granted else None,
        max_model_len=granted.max_model_len if granted else None,
        memory=fit.memory.explanation if fit else None,
        pool=facts.spec.resources.pool if allocation else None,
        phase=allocation.phase if allocation else None,
        place_in_line=allocation.place_in_line if allocation else None,
        assigned_nodes=sorted({it.node for it in allocation.gpus if it.node}) if allocation else None,
    )


def _distributed(facts: Facts, progress: Progress) -> DistributedStatus | None:
    """LWS counts whole groups: a ready group has its leader and all its workers."""
    current = find_current(facts)
    if current is None or current.kind is not WorkloadKind.LEADER_WORKER_SET:
        return None
    return DistributedStatus(leader_ready=progress.ready, workers_ready=progress.ready * (current.size - 1))
