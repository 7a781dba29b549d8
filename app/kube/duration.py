"""Durations as Kubernetes and Go write them: "300s", "5m", "1h30m", "500ms"."""

import math
import re
from decimal import Decimal

DURATION_LIMIT = 32
"""Characters. The work of reading a number grows with the square of its digits."""
LONGEST_SECONDS = 10**6 * 3600
"""A million hours: a longer one is a slip, and moments beyond the calendar could not be written."""
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_WHOLE = re.compile(DURATION_PATTERN)


def parse_duration(text: str) -> float:
    """Seconds of a duration; ValueError says what is accepted."""
    return float(_seconds(text))


def whole_seconds(text: str) -> int:
    """Seconds of a duration, rounded up, as Kubernetes' integer fields take them."""
    return math.ceil(_seconds(text))


def _seconds(text: str) -> Decimal:
    if len(text) > DURATION_LIMIT:
        raise ValueError(f"a duration has at most {DURATION_LIMIT} characters, not {len(text)}: write for example 5m")
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write for example 30s, 5m or 1h30m")
    seconds = sum((Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(text)), Decimal(0))
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"{text} is longer than {LONGEST_SECONDS // 3600}h, the longest duration that is accepted")
    return seconds
