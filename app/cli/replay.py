"""`replay`: a recorded sync request, answered by the hook of its kind as it is today.

Nothing but the request, the settings and the clock goes into an answer; the clock is the newest time in the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from app.cli.documents import read_json
from app.cli.inputs import InputError, refused_field
from app.hooks.kinds import DECORATORS, HOOKS
from app.kube.conditions import parse_time
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.manifest import Manifest, annotated, differences, kind_key, last_applied
from app.metacontroller.protocol import DecorateRequest, SyncRequest
from app.settings import Settings

SOMETHING_CHANGES = 3
"""Exit code of --diff."""
_NOT_OURS = ("controller-uid", "metacontroller.k8s.io/")
_TIME = re.compile(r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"')


def print_replays(files: Iterable[str], kind: str | None, output: str, diff: bool, settings: Settings) -> int:
    """Each file's answer, or how it differs from what was observed; the exit code."""
    changed = False
    for file in files:
        request = read_json(file)
        answer = replay(file, request, kind, settings)
        if diff:
            lines = list(find_differences(request, answer))
            changed |= bool(lines)
            print(f"{file}: {_count(lines)}", *lines, sep="\n")
        elif output == "json":
            print(json.dumps(answer, indent=2))
        else:
            print(yaml.safe_dump(answer, sort_keys=False, explicit_start=True, allow_unicode=True), end="")
    return SOMETHING_CHANGES if changed else 0


def _count(lines: Sequence[str]) -> str:
    return f"{len(lines)} difference{'s' * (len(lines) != 1)}" if lines else "nothing would change"


def replay(file: str, request: Any, kind: str | None, settings: Settings) -> dict[str, Any]:
    """The answer as Metacontroller would read it."""
    if not isinstance(request, Mapping) or not ("parent" in request or "object" in request):
        raise InputError(f"{file} is no sync request: it has neither parent nor object")
    name = (kind or _kind_of(request)).lower()
    if name in DECORATORS:
        return _as_json(DECORATORS[name].sync(_parsed(file, DecorateRequest, request), settings))
    if name not in HOOKS:
        known = ", ".join(sorted({*HOOKS, *DECORATORS}))
        raise InputError(f"{file} is about {name or 'an object without a kind'}; known are {known}: say --kind")
    return _as_json(HOOKS[name].sync(_parsed(file, SyncRequest, request), settings, newest_time(request)))


def find_differences(request: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """What applying the answer would change, object by object, then the status."""
    before = {_name(it): it for it in _observed(request)}
    after = {_name(it): it for it in answer.get("children", answer.get("attachments", []))}
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"+ {name} would be created"
        elif name not in after:
            yield f"- {name} would be deleted"
        else:
            yield from _lines(name, _ours(_applied(before[name])), _ours(after[name]))
    if "status" in answer:
        yield from _lines("status", _by_type(mapping_at(request, "parent", "status")), _by_type(answer["status"]))


def _applied(observed: Manifest) -> Manifest:
    """What was applied before, as the annotation says it; where there is none, what stands in the operator's fields."""
    return annotated(observed) or last_applied(observed)


def _ours(manifest: Manifest) -> Manifest:
    """Less what Metacontroller puts on every child by itself."""
    metadata = dict(mapping_at(manifest, "metadata"))
    for key in ("labels", "annotations"):
        kept = {name: value for name, value in mapping_at(metadata, key).items() if not name.startswith(_NOT_OURS)}
        metadata = {name: value for name, value in metadata.items() if name != key} | ({key: kept} if kept else {})
    return {**manifest, "metadata": metadata}


def _by_type(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status whose conditions can be compared one by one."""
    rest = {key: value for key, value in status.items() if key not in ("conditions", "observedGeneration")}
    conditions = {text_at(it, "type"): it for it in mappings_at(status, "conditions")}
    return rest | ({"conditions": conditions} if conditions else {})


def newest_time(request: Any) -> datetime:
    """The moment of a replay; where no time is written, the beginning of time."""
    found = (parse_time(text) for text in _TIME.findall(json.dumps(request)))
    return max((moment for moment in found if moment), default=datetime.fromtimestamp(0, UTC))


def _kind_of(request: Mapping[str, Any]) -> str:
    """A decorator's object is somebody else's: there is one decorator today, for Nodes."""
    return "gpunode" if "object" in request else text_at(request, "parent", "kind")


def _parsed(file: str, model: type[Any], request: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(request)
    except ValidationError as error:
        raise refused_field(file, "", error) from None


def _as_json(response: BaseModel) -> dict[str, Any]:
    """null means something inside labels only."""
    answer = response.model_dump(mode="json", by_alias=True)
    return {key: value for key, value in answer.items() if value is not None}


def _observed(request: Mapping[str, Any]) -> Iterator[Manifest]:
    for group in mapping_at(request, "children" if "parent" in request else "attachments").values():
        yield from (group or {}).values()


def _name(manifest: Manifest) -> str:
    metadata = mapping_at(manifest, "metadata")
    path = "/".join(part for part in (text_at(metadata, "namespace"), text_at(metadata, "name")) if part)
    return f"{kind_key(manifest)} {path}"


def _lines(name: str, before: Any, after: Any) -> Iterator[str]:
    for path, old, new in differences(before, after):
        yield f"~ {name} {path}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
