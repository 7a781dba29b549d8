"""Durations as Kubernetes and Go write them: "300s", "5m", "1h30m", "500ms"."""

import math
import re
from decimal import Decimal

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
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write for example 30s, 5m or 1h30m")
    return sum((Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(text)), Decimal(0))
