"""The answer that changes nothing, for a stored spec that today's model refuses.

Admission keeps such specs out; an object stored under an older CRD, or with validation off, may still be one.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from app.crd import invalid_spec
from app.hook import SyncRequest, SyncResponse
from app.kube.conditions import Condition, Status, with_times
from app.kube.manifest import last_applied


def hold(request: SyncRequest, error: ValidationError, now: datetime, headline: str, phase: str = "") -> SyncResponse:
    """Every child as last applied, the status as before but for the phase and the headline condition."""
    problem = invalid_spec(error)
    previous = request.parent.conditions
    refused = Condition(headline, Status.FALSE, problem.reason, f"{problem.message} [{problem.error}]")
    others = [condition for condition in previous if condition.get("type") != headline]
    before = {key: value for key, value in (request.parent.status or {}).items() if value is not None}
    conditions = [*with_times([refused], previous, now), *others]
    status = before | ({"phase": phase} if phase else {}) | {"conditions": conditions}
    return SyncResponse(status=status, children=[last_applied(child) for child in request.observed_children()])


def release(request: SyncRequest) -> SyncResponse:
    """The answer of a finalize hook: owner references remove the children, so the parent may go at once."""
    children = [last_applied(child) for child in request.observed_children()]
    return SyncResponse(status=request.parent.status or {}, children=children, finalized=True)
