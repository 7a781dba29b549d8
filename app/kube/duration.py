"""Durations as Kubernetes and Go write them: "300s", "5m", "1h30m", "500ms"."""

import re

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_WHOLE = re.compile(DURATION_PATTERN)


def parse_duration(text: str) -> float:
    """Seconds of a duration; ValueError says what is accepted."""
    if not _WHOLE.match(text):
        raise ValueError(f"{text!r} is not a duration: write for example 30s, 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def whole_seconds(text: str) -> int:
    """Seconds of a duration, rounded up, as Kubernetes' integer fields take them."""
    seconds = parse_duration(text)
    return int(seconds) if seconds == int(seconds) else int(seconds) + 1
