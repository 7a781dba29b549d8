"""A captured sync request, answered again: by the hook of its kind, with no cluster.

A request is what Metacontroller posts: {controller, parent, children, related}, or of a Node {controller, object,
attachments}. The moment is the newest time in the request, unless one is given, so that a replay has one answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError

from app.cli.errors import CliError
from app.hook import DecorateRequest, SyncRequest
from app.kinds import DECORATORS, HOOKS
from app.kube.conditions import parse_time
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.manifest import Manifest, differences, last_applied
from app.settings import Settings

_TIME = re.compile(r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"')
_SHOWN = 200
_CONTROLLER_LABEL = "controller-uid"
_OBJECT_KINDS = {"Node": "gpunode"}


def replay(content: Mapping[str, Any], settings: Settings, now: datetime | None = None) -> dict[str, Any]:
    """What the hook answers: children and status, or attachments and labels."""
    kind = find_kind(content)
    try:
        if kind in DECORATORS:
            decorated = DECORATORS[kind].sync(DecorateRequest.model_validate(content), settings)
            return decorated.model_dump(mode="json", by_alias=True)
        request = SyncRequest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise CliError(f"not a sync request: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    hooks, moment = HOOKS[kind], now or newest_time(content)
    if request.finalizing:
        return hooks.finalize(request).model_dump(mode="json", by_alias=True, exclude_none=True)
    answer = hooks.sync(request, settings, moment)
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


def find_kind(content: Mapping[str, Any]) -> str:
    """The last part of the hook's address, told by the object that the request is about."""
    parent = mapping_at(content, "parent") or mapping_at(content, "object")
    if not parent:
        raise CliError("no sync request: it has neither parent nor object")
    metadata = mapping_at(parent, "metadata")
    if not text_at(metadata, "name"):
        raise CliError("no sync request: its parent has no metadata.name")
    kind = text_at(parent, "kind")
    found = _OBJECT_KINDS.get(kind, kind.lower())
    if found not in HOOKS and found not in DECORATORS:
        raise CliError(f"no hook for kind {kind or '(none)'}: known are {', '.join(sorted({*HOOKS, *DECORATORS}))}")
    if found in HOOKS and HOOKS[found].kind.scope == "Namespaced" and not text_at(metadata, "namespace"):
        raise CliError("no sync request: its parent has no metadata.namespace")
    return found


def newest_time(content: Mapping[str, Any]) -> datetime:
    """The newest time in the request; without any, now."""
    texts = _TIME.findall(orjson.dumps(content).decode())
    return max((moment for text in texts if (moment := parse_time(text))), default=datetime.now(UTC))


def find_differences(content: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Where the answer differs from what was observed: children made, removed or changed, then the status."""
    observed = {
        _key(child): child
        for group in (mapping_at(content, "children") or mapping_at(content, "attachments")).values()
        for child in group.values()
    }
    wanted = {_key(child): child for child in answer.get("children") or answer.get("attachments") or []}
    for key in sorted(observed.keys() | wanted.keys()):
        before, after = observed.get(key), wanted.get(key)
        if before is None or after is None:
            yield f"{key}: {'made' if before is None else 'removed'}"
        else:
            yield from _changed(key, last_applied(before), after)
    if "status" in answer:
        status = mapping_at(content, "parent", "status")
        yield from _changed("status", {k: v for k, v in status.items() if k != "observedGeneration"}, answer["status"])


def _changed(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for path, old, new in differences(_comparable(before), _comparable(after)):
        yield f"{key}: {path}: {_short(old)} -> {_short(new)}"


def _comparable(content: Mapping[str, Any]) -> Manifest:
    """Conditions by their type, and without the label by which Metacontroller finds its children again."""
    found = dict(content)
    if conditions := mappings_at(content, "conditions"):
        found["conditions"] = {str(it.get("type")): dict(it) for it in conditions}
    labels = mapping_at(content, "metadata", "labels")
    if _CONTROLLER_LABEL in labels:
        rest = {name: value for name, value in labels.items() if name != _CONTROLLER_LABEL}
        found["metadata"] = {**mapping_at(content, "metadata"), "labels": rest}
    return found


def _key(child: Manifest) -> str:
    metadata = mapping_at(child, "metadata")
    names = [name for name in (text_at(metadata, "namespace"), text_at(metadata, "name")) if name]
    return f"{child.get('kind')} {'/'.join(names)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
