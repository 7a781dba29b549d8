"""Conditions keep their time until their status flips; errors know when they are tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.kube.conditions import (
    Condition,
    ErrorClass,
    Finding,
    Reason,
    Status,
    find_condition,
    format_time,
    parse_time,
    with_times,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEFORE = "2025-06-01T00:00:00Z"


def told(status: Status, previous: list[dict[str, Any]], reason: Reason = Reason.PENDING) -> dict[str, str]:
    [found] = with_times([Condition("Ready", status, reason, "a message")], previous, NOW)
    return found


@pytest.mark.parametrize(
    ("previous", "time"),
    [
        pytest.param([], "2026-01-01T12:00:00Z", id="a new condition is of now"),
        pytest.param(
            [{"type": "Ready", "status": "False", "lastTransitionTime": BEFORE}],
            "2026-01-01T12:00:00Z",
            id="a flip is of now",
        ),
        pytest.param(
            [{"type": "Ready", "status": "True", "lastTransitionTime": BEFORE}],
            BEFORE,
            id="the same status keeps it",
        ),
        pytest.param(
            [{"type": "Ready", "status": "True", "lastTransitionTime": BEFORE, "reason": "Other", "message": "other"}],
            BEFORE,
            id="reason and message move no time",
        ),
        pytest.param(
            [{"type": "Healthy", "status": "True", "lastTransitionTime": BEFORE}],
            "2026-01-01T12:00:00Z",
            id="another condition's time is not its",
        ),
        pytest.param([{"type": "Ready", "status": "True"}], "2026-01-01T12:00:00Z", id="a time that was never written"),
    ],
)
def test_the_time_of_a_condition(previous: list[dict[str, Any]], time: str) -> None:
    assert told(Status.TRUE, previous)["lastTransitionTime"] == time


def test_a_condition_is_written_whole() -> None:
    assert told(Status.UNKNOWN, [], Reason.IN_PROGRESS) == {
        "type": "Ready",
        "status": "Unknown",
        "reason": "InProgress",
        "message": "a message",
        "lastTransitionTime": "2026-01-01T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ErrorClass.TRANSIENT, 30),
        (ErrorClass.EXTERNAL, 60),
        (ErrorClass.RESOURCE, 120),
        (ErrorClass.CONFIGURATION, 0),
        (ErrorClass.PERMANENT, 0),
    ],
)
def test_an_error_is_tried_again_after(error: ErrorClass, seconds: float) -> None:
    assert Finding(error, Reason.FAILED, "m").retry_seconds == seconds


@pytest.mark.parametrize("name", ["Successful", "Failed", "Pending", "InProgress", "InsufficientGPU", "ModelNotFound",
                                  "ConfigurationError", "InferenceReady"])  # fmt: skip
def test_the_specifications_reasons_are_there(name: str) -> None:
    assert name in {reason.value for reason in Reason}


def test_times_are_written_in_utc_and_read_back() -> None:
    elsewhere = datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(elsewhere) == "2026-01-01T12:00:00Z"
    assert parse_time("2026-01-01T12:00:00Z") == NOW
    assert parse_time("2026-01-01T12:00:00") == NOW


@pytest.mark.parametrize("text", ["", "None", "yesterday", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None


def test_a_condition_is_found_by_its_type() -> None:
    assert find_condition([{"type": "A"}, {"type": "B", "status": "True"}], "B") == {"type": "B", "status": "True"}
    assert find_condition([], "B") == {}
