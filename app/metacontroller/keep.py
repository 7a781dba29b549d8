"""The answer that changes nothing, for a stored spec that today's model refuses.

Admission keeps such specs out; an object stored under an older CRD, or with validation off, may still be one, and no
schema sees into `engineArgs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from app.api.schema import Model, invalid_spec, unread_spec
from app.kube.conditions import Condition, Finding, Status, with_times
from app.kube.manifest import Manifest, last_applied
from app.metacontroller.protocol import Parent, SyncRequest, SyncResponse

GRANTS = frozenset({"NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"})
"""Kinds that give rights: always built, for what stands in the cluster may have been written by anybody."""

Spec = TypeVar("Spec", bound=Model)

Rebuild = Callable[[Manifest], Manifest | None]
"""Builds an observed child of these kinds from its parent's name alone; None leaves it out."""


def keep_children(children: Iterable[Manifest], rebuild: Rebuild) -> list[Manifest]:
    """Every child as it stands."""
    kept = (rebuild(child) if child.get("kind") in GRANTS else last_applied(child) for child in children)
    return [child for child in kept if child]


def without_grants(child: Manifest) -> None:
    """For parents that have no children of these kinds."""


class RefusedSpecError(Exception):
    """A stored spec that today's model refuses, or of which a part was too much to be read: `finding` says which."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read_spec(model: type[Spec], parent: Parent) -> Spec:
    """The spec as a model. Raises RefusedSpecError, whose finding `keep_last_applied` tells."""
    if parent.unread:
        raise RefusedSpecError(unread_spec(parent.unread))
    try:
        return model.model_validate(parent.spec)
    except ValidationError as error:
        raise RefusedSpecError(invalid_spec(error, model)) from None


def keep_last_applied(
    request: SyncRequest,
    problem: Finding,
    now: datetime,
    headline: str,
    phase: str = "",
    rebuild: Rebuild = without_grants,
) -> SyncResponse:
    """Every child as it stands, the status as before but for the phase and the headline condition."""
    previous = request.parent.conditions
    refused = Condition(headline, Status.FALSE, problem.reason, f"{problem.message} [{problem.error}]")
    others = [condition for condition in previous if condition.get("type") != headline]
    before = {key: value for key, value in (request.parent.status or {}).items() if value is not None}
    conditions = [*with_times([refused], previous, now), *others]
    status = before | ({"phase": phase} if phase else {}) | {"conditions": conditions}
    return SyncResponse(status=status, children=keep_children(request.observed_children(), rebuild))


def finalize_immediately(request: SyncRequest, rebuild: Rebuild = without_grants) -> SyncResponse:
    """The answer of a finalize hook: owner references remove the children, so the parent may go at once."""
    children = keep_children(request.observed_children(), rebuild)
    return SyncResponse(status=request.parent.status or {}, children=children, finalized=True)
