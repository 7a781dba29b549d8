"""Conditions: their types, reasons, error classes, and the rule that times move only when a status flips."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Why a condition has its status; one line of documentation each."""

    SUCCESSFUL = "Successful"  # done, nothing left to do
    INFERENCE_READY = "InferenceReady"  # the service answers requests
    PENDING = "Pending"  # waits for something that is not there yet
    IN_PROGRESS = "InProgress"  # started, not finished
    FAILED = "Failed"  # tried and failed; the message says what to do
    CONFIGURATION_ERROR = "ConfigurationError"  # the spec contradicts itself or the cluster: edit it
    MODEL_NOT_FOUND = "ModelNotFound"  # the named ModelCache does not exist
    SERVICE_NOT_FOUND = "ServiceNotFound"  # the named InferenceService does not exist
    INSUFFICIENT_GPU = "InsufficientGPU"  # the GPUs asked for are not to be had, for example by quota
    SCALED_TO_ZERO = "ScaledToZero"  # zero groups were asked for
    MISSING_CAPABILITY = "MissingCapability"  # the cluster lacks an API that the spec needs
    UNVERIFIED = "Unverified"  # the source gives nothing to compare the content with
    UP_TO_DATE = "UpToDate"  # what runs is what would be built today
    NEWER_DECISION = "NewerDecision"  # a different workload would be built today; it is taken on request only
    OWNED_BY_US = "OwnedByUs"  # every child is there and ours
    CHILD_MISSING = "ChildMissing"  # a child does not appear: name taken, quota, or admission


class ErrorClass(StrEnum):
    """How an error is handled: after how long it is tried again, and whether a person must act."""

    TRANSIENT = "Transient"
    PERMANENT = "Permanent"
    CONFIGURATION = "Configuration"
    RESOURCE = "Resource"
    EXTERNAL = "External"


RETRY_SECONDS: Mapping[ErrorClass, float] = {
    ErrorClass.TRANSIENT: 30.0,
    ErrorClass.RESOURCE: 120.0,
    ErrorClass.EXTERNAL: 60.0,
}
"""Configuration and Permanent errors are not retried: only an edit helps, and an edit wakes the hook by itself."""


@dataclass(frozen=True)
class Finding:
    """An expected failure as a value: becomes a condition, never an exception."""

    error: ErrorClass
    reason: Reason
    message: str

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next try; 0 = none."""
        return RETRY_SECONDS.get(self.error, 0.0)


MESSAGE_LIMIT = 1024
"""Characters of a condition's message. The API server takes more, but one reads it in a column of `kubectl get`."""


class Status(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Condition:
    """One condition as decided now; its time is added by `with_times`."""

    type: str
    status: Status
    reason: Reason
    message: str


def with_times(
    conditions: Iterable[Condition], previous: Sequence[Mapping[str, Any]], now: datetime
) -> list[dict[str, str]]:
    """Conditions as JSON; lastTransitionTime is carried over from `previous` unless the status flipped."""
    before = {str(old.get("type")): old for old in previous}
    return [_with_time(condition, before.get(condition.type, {}), now) for condition in conditions]


def _with_time(condition: Condition, before: Mapping[str, Any], now: datetime) -> dict[str, str]:
    flipped = before.get("status") != condition.status
    time = None if flipped else before.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": condition.status.value,
        "reason": condition.reason.value,
        "message": shortened(condition.message, MESSAGE_LIMIT),
        "lastTransitionTime": str(time or format_time(now)),
    }


_ENDING = re.compile(r" \[\w+\]$")


def shortened(text: str, most: int) -> str:
    """A text of so many characters at most; the class of the error at its end stays."""
    if len(text) <= most:
        return text
    found = _ENDING.search(text[-32:])
    ending = f" ...{found[0] if found else ''}"
    return text[: most - len(ending)] + ending


def listed(parts: Sequence[str], most: int = MESSAGE_LIMIT * 3 // 4) -> str:
    """Parts of a message with semicolons; those that do not fit are counted."""
    size, fit = 0, 0
    for part in parts:
        size += len(part) + 2
        if size > most and fit:
            break
        fit += 1
    rest = f"; and {len(parts) - fit} more" if fit < len(parts) else ""
    return "; ".join(shortened(part, most) for part in parts[:fit]) + rest


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with seconds, as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime | None:
    """The moment of an RFC 3339 text, None when it is none; a text without a zone counts as UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC it would be before the year 1, or after 9999
        return None


def later(moment: datetime, seconds: float) -> datetime:
    """So many seconds later, or earlier when negative; the end of the calendar where it would be beyond."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)


def find_condition(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    """The condition of that type, or an empty mapping."""
    return next((condition for condition in conditions if condition.get("type") == kind), {})
