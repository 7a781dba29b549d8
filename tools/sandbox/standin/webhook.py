"""Calling a hook: JSON over POST, strictly decoded.

Only status 200 is success. Anything else is an error and changes nothing; 429 says when to come back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import httpx2

from tools.sandbox.api import Object

DEFAULT_TIMEOUT = 10.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
Fields = Mapping[str, type | tuple[type, ...]]

SYNC_FIELDS: Fields = {"status": dict, "children": list, "resyncAfterSeconds": (int, float), "finalized": bool}
DECORATE_FIELDS: Fields = {
    "labels": dict,
    "annotations": dict,
    "status": dict,
    "attachments": list,
    "resyncAfterSeconds": (int, float),
    "finalized": bool,
}
CUSTOMIZE_FIELDS: Fields = {"relatedResources": list}


class HookError(Exception):
    """The hook could not be called, refused, or answered something that is not an answer."""


class TooManyRequestsError(Exception):
    """The hook asks to be called again later (429 with Retry-After)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"call again in {seconds:g} s")
        self.seconds = seconds


class Caller(Protocol):
    """Whatever answers the requests of one hook."""

    def call(self, request: Object) -> Object: ...


Connect = Callable[[Object, Fields], Caller]
"""Makes the caller of a hook from its spec and the fields of its answers. `Hook` is the one over HTTP."""


class Hook:
    """One webhook of a controller."""

    def __init__(self, spec: Object, fields: Fields) -> None:
        if spec.get("version") != "v2":
            raise HookError("the stand-in speaks hook version v2 only")
        webhook = spec["webhook"]
        if "url" not in webhook:
            raise HookError("the stand-in reaches hooks by `url` only: there is no cluster DNS here")
        self._url: str = webhook["url"]
        self._strict = webhook.get("responseUnMarshallMode", "strict") == "strict"
        self._fields = fields
        # uvicorn closes connections that were idle for 5 s, maybe just while a request is sent on one.
        limits = httpx2.Limits(keepalive_expiry=2.0)
        self._http = httpx2.Client(timeout=parse_duration(webhook.get("timeout")), limits=limits, trust_env=False)

    def call(self, request: Object) -> Object:
        """The hook's answer: an object whose known fields have the right types."""
        try:
            response = self._http.post(self._url, json=request)
        except httpx2.HTTPError as error:
            raise HookError(f"http error: {error!r}") from error
        if response.status_code == 429:
            raise TooManyRequestsError(parse_retry_after(response.headers.get("Retry-After", "")))
        if response.status_code != 200:
            raise HookError(f"unsupported status code: {response.status_code} body: {response.text}")
        return self._decode(response.text)

    def _decode(self, text: str) -> Object:
        try:
            answer = json.loads(text, object_pairs_hook=self._no_duplicates)
        except ValueError as error:
            raise HookError(f"cannot decode the answer: {error}") from error
        if answer is None:
            return {}
        if not isinstance(answer, dict):
            raise HookError("the answer is not an object")
        self._check(answer)
        return answer

    def _no_duplicates(self, pairs: list[tuple[str, Any]]) -> Object:
        if self._strict and len({key for key, _ in pairs}) < len(pairs):
            raise ValueError(f"duplicate field among {sorted(key for key, _ in pairs)}")
        return dict(pairs)

    def _check(self, answer: Object) -> None:
        unknown = answer.keys() - self._fields.keys()
        if unknown and self._strict:
            raise HookError(f"strict decoding: unknown fields {sorted(unknown)}")
        for field, kinds in self._fields.items():
            value = answer.get(field)
            if value is not None and not isinstance(value, kinds):
                raise HookError(f"field {field} has the wrong type: {type(value).__name__}")


def parse_duration(text: str | None) -> float:
    """Seconds of a Go duration such as `10s` or `1m30s`; the default when it is missing or not positive."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", text or "")
    return sum(float(number) * _UNITS[unit] for number, unit in parts) or DEFAULT_TIMEOUT


def parse_retry_after(value: str) -> float:
    """Seconds of a Retry-After header, as a number or a date; 0 (at once) when it is neither."""
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
