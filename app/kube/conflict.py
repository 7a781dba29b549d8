"""Children that do not appear.

Metacontroller swallows AlreadyExists, and a quota or an admission policy that refuses a child is reported in events
only. The one sign a hook has is that a child it asked for is not among `children` some time later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.kube.conditions import (
    Condition,
    ErrorClass,
    Finding,
    Reason,
    Status,
    find_condition,
    parse_time,
)
from app.kube.manifest import Manifest, kind_key

CHILD_CONFLICT = "ChildConflict"
GRACE_SECONDS = 30.0

_LOOK_AGAIN_SECONDS = 10.0

Observed = Callable[[str, str], object]
"""Finds a child by the key of its kind and its name, as SyncRequest.child does; anything false means it is missing."""


def conflict_condition(
    desired: Iterable[Manifest],
    observed: Observed,
    previous: Sequence[Mapping[str, Any]],
    now: datetime,
    grace_seconds: float = GRACE_SECONDS,
) -> tuple[Condition, float]:
    """The ChildConflict condition, and after how many seconds to look again (0 = no need)."""
    missing = [_title(child) for child in desired if not observed(kind_key(child), _name(child))]
    if not missing:
        return Condition(CHILD_CONFLICT, Status.FALSE, Reason.OWNED_BY_US, "Every child is there and ours."), 0.0
    if _overdue(find_condition(previous, CHILD_CONFLICT), now, grace_seconds):
        return _missing(missing, grace_seconds), grace_seconds
    message = f"The operator waits for {_listed(missing)} to appear."
    return Condition(CHILD_CONFLICT, Status.UNKNOWN, Reason.PENDING, message), _LOOK_AGAIN_SECONDS


def unmanaged_finding(desired: Iterable[Manifest], manages: Callable[[str], bool]) -> Finding | None:
    """Children whose kind the controller does not list: they are never sent, so that must be said."""
    missing = [_title(child) for child in desired if not manages(kind_key(child))]
    if not missing:
        return None
    message = (
        f"{_listed(missing)} cannot be created: this controller does not manage the kind. "
        "Add it to spec.childResources of the CompositeController."
    )
    return Finding(ErrorClass.PERMANENT, Reason.MISSING_CAPABILITY, message)


def managed(desired: Iterable[Manifest], manages: Callable[[str], bool]) -> list[Manifest]:
    """The children that may be sent: Metacontroller would create others anew in every sync and never delete them."""
    return [child for child in desired if manages(kind_key(child))]


def _overdue(before: Mapping[str, Any], now: datetime, grace_seconds: float) -> bool:
    since = parse_time(str(before.get("lastTransitionTime")))
    waited = since is not None and now - since > timedelta(seconds=grace_seconds)
    return before.get("status") == Status.TRUE or (before.get("status") == Status.UNKNOWN and waited)


def _missing(missing: Sequence[str], grace_seconds: float) -> Condition:
    message = (
        f"{_listed(missing)} was not created within {grace_seconds:.0f} s: an object of that name exists under "
        "another owner, or a quota or admission policy refuses it; see `kubectl describe` of this object for events, "
        "then rename or remove it."
    )
    return Condition(CHILD_CONFLICT, Status.TRUE, Reason.CHILD_MISSING, message)


def _title(child: Manifest) -> str:
    return f"{child['kind']} {_name(child)}"


def _name(child: Manifest) -> str:
    return str(child["metadata"]["name"])


def _listed(titles: Sequence[str]) -> str:
    return ", ".join(sorted(titles))
