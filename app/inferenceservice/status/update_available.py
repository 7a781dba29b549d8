"""Would a different workload be built today? Then say so, and wait to be asked."""

from __future__ import annotations

from typing import Any

from app.inferenceservice.facts import Facts
from app.inferenceservice.plan import Plan, Serve
from app.kube.conditions import Condition, Reason, Status
from app.kube.manifest import Manifest, differences
from app.kube.names import REPLAN_ANNOTATION

Change = tuple[str, Any, Any]
"""Path in the spec, before and after."""
SHOWN = 3
"""Differences quoted in the message; the rest are counted."""


def update_condition(plan: Plan, facts: Facts, today: Manifest | None) -> Condition:
    """UpdateAvailable: what today's settings and operator would change, and how to take it."""
    if not facts.observed.workloads:
        return Condition("UpdateAvailable", Status.FALSE, Reason.UP_TO_DATE, "nothing runs that could be updated")
    if not isinstance(plan, Serve):
        message = "the spec was edited since and cannot be applied yet: see Ready"
        return Condition("UpdateAvailable", Status.UNKNOWN, plan.finding.reason, message)
    if plan.kept is None:
        return Condition("UpdateAvailable", Status.FALSE, Reason.UP_TO_DATE, "today's decision is being applied")
    if today is None:
        message = f"what runs is kept; today it could not be decided anew: {plan.obstacle}"
        return Condition("UpdateAvailable", Status.UNKNOWN, Reason.PENDING, message)
    changes = find_changes(plan.kept.applied, today)
    if not changes:
        return Condition("UpdateAvailable", Status.FALSE, Reason.UP_TO_DATE, "what runs is what would be built today")
    message = (
        f"today's decision differs: {quoted(changes)}; it is taken with the next edit of the spec, or by setting the "
        f"annotation {REPLAN_ANNOTATION} to a new value, which restarts the pods"
    )
    return Condition("UpdateAvailable", Status.TRUE, Reason.NEWER_DECISION, message)


def find_changes(applied: dict[str, Any], today: dict[str, Any]) -> list[Change]:
    """Where a workload as last applied and one that would be built differ, replicas apart."""
    return list(differences(_decided(applied), _decided(today)))


def _decided(workload: dict[str, Any]) -> dict[str, Any]:
    """What a restart would change: the spec without replicas."""
    return {key: value for key, value in workload.get("spec", {}).items() if key != "replicas"}


def quoted(changes: list[Change]) -> str:
    """The first changes in words; the rest are counted."""
    shown = [f"{path}: {_short(before)} -> {_short(after)}" for path, before, after in changes[:SHOWN]]
    more = [f"{len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
    return ", ".join(shown + more)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
