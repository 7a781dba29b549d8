"""How a desired child becomes an update of the observed one. Pure.

Metacontroller's dynamic apply is a three-way merge in the manner of `kubectl apply`: what was applied last is kept in
an annotation on the child, so that a field that is no longer desired can be told from one that somebody else owns.
Lists are merged item by item when they look like maps (every item is an object that has one of MERGE_KEYS), else they
are replaced whole. No schema is consulted.
"""

from __future__ import annotations

import copy
import json
from typing import Any

Json = Any  # whatever json.loads gives
Object = dict[str, Any]

LAST_APPLIED = "metacontroller.k8s.io/last-applied-configuration"
MERGE_KEYS = ("containerPort", "port", "mountPath", "name", "uid", "ip", "path")  # first hit wins
SYSTEM_METADATA = (
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
)
# Go's JSON encoder escapes these, so annotations written by either program are the same bytes.
_GO_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def apply_update(observed: Object, desired: Object) -> Object:
    """The object to write for `desired`: equal to `observed` when there is nothing to do.

    Fields that the system owns, and the status, stay as observed. Neither argument is changed.
    """
    desired = _without_last_applied(desired)
    merged: Object = _merge(copy.deepcopy(observed), last_applied_of(observed), desired)
    for field in SYSTEM_METADATA:
        _revert(merged["metadata"], observed["metadata"], field)
    _revert(merged, observed, "status")
    return with_last_applied(merged, desired)


def with_last_applied(target: Object, applied: Object) -> Object:
    """A copy of `target` whose annotation records `applied`."""
    metadata = target.get("metadata", {})
    annotations = {**(metadata.get("annotations") or {}), LAST_APPLIED: encode(applied)}
    return {**target, "metadata": {**metadata, "annotations": annotations}}


def last_applied_of(observed: Object) -> Object:
    """What was applied last; empty when nothing was recorded."""
    recorded = (observed["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    decoded: Object = json.loads(recorded) if recorded else {}
    return decoded


def encode(value: Json) -> str:
    """JSON as Go writes it: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES)


def same(left: Json, right: Json) -> bool:
    """Equality that tells 1 from 1.0 and from True, as Metacontroller does."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _without_last_applied(desired: Object) -> Object:
    result = copy.deepcopy(desired)
    annotations = (result.get("metadata") or {}).get("annotations")
    if annotations:
        annotations.pop(LAST_APPLIED, None)
    return result


def _revert(target: Object, source: Object, field: str) -> None:
    if field in source:
        target[field] = source[field]
    else:
        target.pop(field, None)


def _merge(target: Json, last: Json, desired: Json) -> Json:
    """Decided by what is observed: an object or a list meets anything else as if that were empty."""
    if isinstance(target, dict):
        return _merge_objects(target, _as(dict, last), _as(dict, desired))
    if isinstance(target, list):
        return _merge_lists(target, _as(list, last), _as(list, desired))
    return desired


def _as(kind: type, value: Json) -> Json:
    return value if isinstance(value, kind) else kind()


def _merge_objects(target: Object, last: Object, desired: Object) -> Object:
    for key in last.keys() - desired.keys():
        target.pop(key, None)
    for key, value in desired.items():
        target[key] = _merge(target.get(key), last.get(key), value)
    return target


def _merge_lists(target: list[Json], last: list[Json], desired: list[Json]) -> list[Json]:
    """Observed items keep their places; new ones follow in the desired order."""
    key = _merge_key([*target, *last, *desired])
    if key is None:
        return desired
    merged = _merge_objects(_by(key, target), _by(key, last), _by(key, desired))
    kept = [name for name in (_name(item, key) for item in target) if name in merged]
    added = [name for name in _by(key, desired) if name not in set(kept)]
    return [merged[name] for name in kept + added]


def _merge_key(items: list[Json]) -> str | None:
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    return next((key for key in MERGE_KEYS if all(key in item for item in items)), None)


def _by(key: str, items: list[Object]) -> Object:
    return {_name(item, key): item for item in items}


def _name(item: Object, key: str) -> str:
    value = item[key]
    return value if isinstance(value, str) else encode(value)
