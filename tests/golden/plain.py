"""What differs from one recording to the next, made the same: times, uids, versions, addresses and ports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When every scenario begins."""
NEARBY = timedelta(days=2)
"""Times further from a scenario's begin are part of its story, and stay."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=(\.\d+)?Z)")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VERSION = re.compile(r'(?<="resourceVersion": ")\d+(?=")')
_ADDRESS = re.compile(r'(?<=")10\.\d+\.\d+\.\d+(?=")')
_NODE_PORT = re.compile(r'(?<="nodePort": )\d+')
_HOOK = re.compile(r"(?<=http://127\.0\.0\.1:)\d+(?=/)")


class Plain:
    """One scenario's names for what is random; the same thing has the same name in all its requests."""

    def __init__(self, begun: datetime) -> None:
        self._begun = begun.replace(microsecond=0)
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def text(self, request: Any) -> str:
        """A request as it is stored."""
        text = json.dumps(less_managed_fields(request), indent=1, sort_keys=True, ensure_ascii=False)
        text = _TIME.sub(lambda found: self._moved(found[0]), text)
        text = _UID.sub(self._named("uid", lambda it: f"00000000-0000-4000-8000-{it:012}"), text)
        text = _VERSION.sub(self._named("version", str), text)
        text = _ADDRESS.sub(self._named("address", lambda it: f"10.0.{it // 256}.{it % 256}"), text)
        text = _NODE_PORT.sub(self._named("port", lambda it: str(30_000 + it)), text)
        return _HOOK.sub("8080", text) + "\n"

    def _moved(self, text: str) -> str:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        if abs(moment - self._begun) > NEARBY:
            return text
        return f"{EPOCH + (moment - self._begun):%Y-%m-%dT%H:%M:%S}"

    def _named(self, what: str, name: Callable[[int], str]) -> Callable[[re.Match[str]], str]:
        """Names by order of appearance."""

        def replaced(found: re.Match[str]) -> str:
            key = f"{what} {found[0]}"
            if key not in self._names:
                self._counts[what] = self._counts.get(what, 0) + 1
                self._names[key] = name(self._counts[what])
            return self._names[key]

        return replaced


def gist(text: str) -> str:
    """What a stored request says, less what moves in every write: two requests with one gist are one case."""
    return re.sub(r'"(resourceVersion|lastHeartbeatTime|observedAt)": "[^"]*"', "", _TIME.sub("", text))


def less_managed_fields(value: Any) -> Any:
    """The bulk of most requests, which nothing reads."""
    if isinstance(value, dict):
        return {key: less_managed_fields(item) for key, item in value.items() if key != "managedFields"}
    return [less_managed_fields(item) for item in value] if isinstance(value, list) else value
