"""Observed + plan + previous status + now -> status.

Everything here is derived at each call. Nothing changes unless something happened: times move only with a status,
and messages quote counts, never durations.
"""

from __future__ import annotations

from typing import Any

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
from app.kube.manifest import Manifest
from app.kube.names import LEADER, ROLE_LABEL, SERVICE_LABEL


def build_status(
    plan: Plan, facts: Facts, today: Manifest | None, unmanaged: Finding | None, conflict: Condition
) -> tuple[dict[str, Any], list[Condition]]:
    """Status without conditions, and the conditions without their times; `today` is the workload of today's
    decision, `unmanaged` what cannot be sent."""
    progress = find_progress(plan, facts)
    problem = find_problem(plan, unmanaged, conflict)
    conditions = [
        ready_condition(plan, facts, progress, problem),
        model_condition(plan, facts, progress),
        gpu_condition(plan, facts, progress),
        service_condition(facts, progress),
        healthy_condition(plan, progress),
        update_condition(plan, facts, today),
        conflict,
        *applied_conditions(facts),
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


def _endpoints(facts: Facts) -> dict[str, str]:
    ingress, balancer = facts.spec.networking.ingress, facts.observed.load_balancer
    host = f"[{balancer}]" if ":" in balancer else balancer
    external = f"http://{host}:{facts.spec.networking.ports.http}" if balancer else ""
    if ingress.enabled:
        external = ingress.url
    return {"internal": internal_url(facts)} | ({"external": external} if external else {})


def _model_status(facts: Facts, progress: Progress) -> dict[str, Any]:
    running = find_version(facts)
    version = {"version": running} if running else {}
    request = facts.observed.request
    seconds = request.status.load_seconds if request and progress.serving else None
    load_time = {"loadTime": f"{seconds}s"} if seconds is not None else {}
    return {"loaded": progress.serving} | load_time | version


def _allocation(facts: Facts) -> dict[str, Any]:
    layout = plan_layout(facts)
    if layout is None:
        return {}
    shape = layout.shape
    sizes: dict[str, Any] = {
        "gpus": shape.gpus,
        "nodes": shape.nodes,
        "gpusPerNode": shape.gpus_per_node,
        "tensorParallel": shape.tensor,
        "pipelineParallel": shape.pipeline,
        "dataParallel": shape.data,
        "summary": f"{shape.nodes}x{shape.gpus_per_node} TP{shape.tensor} PP{shape.pipeline} DP{shape.data}",
    }
    return {"allocation": sizes | _granted(layout) | _answer(facts, layout)}


def _granted(layout: Layout) -> dict[str, Any]:
    granted = layout.allocation.shape if layout.allocation else None
    values = {"product": granted.product, "maxModelLen": granted.max_model_len} if granted else {}
    return {key: value for key, value in values.items() if value}


def _answer(facts: Facts, layout: Layout) -> dict[str, Any]:
    """What the pool said; the memory is of the product it granted."""
    allocation = layout.allocation
    if allocation is None:
        return {}
    granted = allocation.shape
    fit = facts.need.find_fit(granted.product or "") if facts.need and granted else None
    values = {
        "pool": facts.spec.resources.pool,
        "phase": allocation.phase,
        "placeInLine": allocation.place_in_line,
        "assignedNodes": sorted({it.node for it in allocation.gpus if it.node}),
        "memory": fit.memory.explanation if fit else "",
    }
    return {key: value for key, value in values.items() if value}


def _distributed(facts: Facts, progress: Progress) -> dict[str, Any]:
    """LWS counts whole groups: a ready group has its leader and all its workers."""
    current = find_current(facts)
    if current is None or current.kind is not WorkloadKind.LEADER_WORKER_SET:
        return {}
    return {"distributed": {"leaderReady": progress.ready, "workersReady": progress.ready * (current.size - 1)}}
