"""ChildConflict: children that do not appear are waited for, then said, then forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.kube.conditions import Condition, Status, format_time
from app.kube.conflict import conflict_condition, managed, unmanaged_finding

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
INGRESS = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "b"}}


def judge(missing: list[str], before: str = "", since: datetime = NOW, now: datetime = NOW) -> tuple[Condition, float]:
    previous = [{"type": "ChildConflict", "status": before, "lastTransitionTime": format_time(since)}] if before else []
    return conflict_condition([SERVICE, INGRESS], lambda kind, name: name not in missing, previous, now)


def seconds(count: int) -> datetime:
    return NOW + timedelta(seconds=count)


@pytest.mark.parametrize(
    ("judged", "status", "reason", "again"),
    [
        pytest.param(judge([]), "False", "OwnedByUs", 0, id="all there"),
        pytest.param(judge(["a"]), "Unknown", "Pending", 10, id="missing at first"),
        pytest.param(judge(["a"], "False", seconds(-900)), "Unknown", "Pending", 10, id="was there and is gone"),
        pytest.param(judge(["a"], "Unknown", now=seconds(29)), "Unknown", "Pending", 10, id="missing for 29 s"),
        pytest.param(judge(["a"], "Unknown", now=seconds(30)), "Unknown", "Pending", 10, id="missing for 30 s"),
        pytest.param(judge(["a"], "Unknown", now=seconds(31)), "True", "ChildMissing", 30, id="missing for 31 s"),
        pytest.param(judge(["a"], "True"), "True", "ChildMissing", 30, id="still missing"),
        pytest.param(judge([], "True"), "False", "OwnedByUs", 0, id="came after all"),
    ],
)
def test_a_missing_child_is(judged: tuple[Condition, float], status: str, reason: str, again: float) -> None:
    condition, look_again = judged
    assert (condition.status, condition.reason, look_again) == (status, reason, again)


def test_every_missing_child_is_named_in_a_stable_order() -> None:
    condition, _ = judge(["b", "a"], "True")
    assert condition.message.startswith("Ingress b, Service a was not created within 30 s")
    assert "rename or remove it" in condition.message


@pytest.mark.parametrize("time", ["", "None", "yesterday"])
def test_a_time_that_cannot_be_read_is_waited_out(time: str) -> None:
    previous: list[dict[str, Any]] = [{"type": "ChildConflict", "status": "Unknown", "lastTransitionTime": time}]
    condition, _ = conflict_condition([SERVICE], lambda kind, name: None, previous, seconds(999))
    assert condition.status is Status.UNKNOWN


def test_a_child_of_a_kind_that_is_not_listed_is_kept_back_and_said() -> None:
    def services_only(kind: str) -> bool:
        return kind == "Service.v1"

    assert managed([SERVICE, INGRESS], services_only) == [SERVICE]
    finding = unmanaged_finding([SERVICE, INGRESS], services_only)
    assert finding is not None
    assert (finding.error, finding.reason) == ("Permanent", "MissingCapability")
    assert "Ingress b cannot be created" in finding.message
    assert unmanaged_finding([SERVICE], services_only) is None
