"""What a result would do to pods that run: the workload that would be applied, against the one that is there."""

from __future__ import annotations

from dataclasses import dataclass

from app.cli.decide import PlanResult
from app.inferenceservice.observe import WorkloadState
from app.inferenceservice.plan import Serve
from app.inferenceservice.status.update_available import Change, find_changes, quoted, update_condition
from app.kube.conditions import Status
from app.kube.manifest import Manifest

_TEMPLATES = ("template", "leaderWorkerTemplate")
"""What a Deployment's and a LeaderWorkerSet's pods are made from; only a change there restarts them."""


@dataclass(frozen=True)
class Effect:
    """On one service that runs."""

    restarts: bool
    groups: int
    """Groups that would be restarted."""
    message: str
    changes: tuple[Change, ...] = ()


def find_effect(result: PlanResult) -> Effect | None:
    """None when nothing runs yet."""
    states = result.facts.observed.workloads
    if not states:
        return None
    plan, current = result.plan, result.facts.observed.workload(result.facts.kind)
    if not isinstance(plan, Serve):
        return Effect(False, 0, f"nothing restarts now, what runs goes on: {plan.finding.message}")
    if current is None:
        return _replaced(states[0], result)
    if plan.kept:
        return _kept(result, current, plan)
    return _rebuilt(result, current, plan)


def _kept(result: PlanResult, current: WorkloadState, plan: Serve) -> Effect:
    later = update_condition(plan, result.facts, result.today)
    told = f"; {later.message}" if later.status is Status.TRUE else ""
    return Effect(False, 0, f"nothing restarts: the pods are those of this spec{_scaled(current, plan)}{told}")


def _rebuilt(result: PlanResult, current: WorkloadState, plan: Serve) -> Effect:
    changes = find_changes(current.applied, _new_workload(result))
    if not any(path.partition(".")[0] in _TEMPLATES for path, _, _ in changes):
        return Effect(False, 0, f"nothing restarts: the pods stay as they are{_scaled(current, plan)}", tuple(changes))
    message = f"{_groups(current.running)} would restart, one at a time: {quoted(changes)}{_scaled(current, plan)}"
    return Effect(True, current.running, message, tuple(changes))


def _replaced(state: WorkloadState, result: PlanResult) -> Effect:
    message = f"{_groups(state.running)} would end: the {state.kind} makes place for a {result.facts.kind}"
    return Effect(True, state.running, message)


def _scaled(current: WorkloadState, plan: Serve) -> str:
    if plan.replicas in (None, current.asked):
        return ""
    return f"; the number of groups goes from {current.asked} to {plan.replicas}"


def _new_workload(result: PlanResult) -> Manifest:
    return next(child for child in result.children if child["kind"] == result.facts.kind)


def _groups(count: int) -> str:
    return "1 group" if count == 1 else f"{count} groups"
