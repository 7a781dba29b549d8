"""Objects as JSON: emitting what we build, and keeping what already runs exactly as it was applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel

from app.kube.lenient import mapping_at, text_at, value_at

Manifest = dict[str, Any]

LAST_APPLIED = "metacontroller.k8s.io/last-applied-configuration"

# What the API server and its controllers write; the rest of an object is what somebody applied.
_SERVER_METADATA = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "managedFields", "selfLink", "ownerReferences", "finalizers",
)  # fmt: skip


def emit(model: BaseModel) -> Manifest:
    """A typed Kubernetes object as JSON without null, "" or {}: what is not said is not sent."""
    pruned = _pruned(model.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert isinstance(pruned, dict)
    return pruned


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if _says_something(kept := _pruned(item))}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _says_something(value: Any) -> bool:
    """0 and false are values; null, "", {} and [] are what the API server reads as not given."""
    return bool(value) or value is False or (value == 0 and not isinstance(value, str))


def last_applied(observed: Mapping[str, Any]) -> Manifest:
    """The object as this operator last applied it, so that answering it changes nothing.

    Metacontroller's dynamic apply keeps it in an annotation. Without one (server-side apply) the observed object
    less what the server wrote is the same promise: applying it back is no change. A number of replicas that was
    applied is answered as it stands now, because an autoscaler may have changed it since.
    """
    annotated = _parsed_object(text_at(observed, "metadata", "annotations", LAST_APPLIED))
    applied = annotated if _is_of(annotated, observed) else without_server_fields(observed)
    now = value_at(observed, "spec", "replicas")
    scaled = now is not None and value_at(applied, "spec", "replicas") is not None
    return with_value(applied, ("spec", "replicas"), now) if scaled else applied


def _parsed_object(text: str) -> Manifest:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_of(applied: Manifest, observed: Mapping[str, Any]) -> bool:
    """Whether the annotation is about this object; somebody may have edited it, or copied it from another one."""
    same = all(applied.get(key) == observed.get(key) for key in ("apiVersion", "kind"))
    named = text_at(applied, "metadata", "name") == text_at(observed, "metadata", "name")
    return same and named and isinstance(applied.get("spec", {}), dict)


def without_server_fields(observed: Mapping[str, Any]) -> Manifest:
    """An observed object less status and the metadata that only the server and Metacontroller write."""
    metadata = {k: v for k, v in mapping_at(observed, "metadata").items() if k not in _SERVER_METADATA}
    annotations = {k: v for k, v in mapping_at(metadata, "annotations").items() if k != LAST_APPLIED}
    metadata = {k: v for k, v in metadata.items() if k != "annotations"}
    metadata |= {"annotations": annotations} if annotations else {}
    rest = {k: v for k, v in observed.items() if k not in ("metadata", "status")}
    return {**rest, "metadata": metadata}


def annotation(manifest: Mapping[str, Any], name: str) -> str:
    """An annotation's value, "" when it is not there."""
    return text_at(manifest, "metadata", "annotations", name)


def kind_key(manifest: Mapping[str, Any]) -> str:
    """The outer key of `children` under which an object of this kind stands: Service.v1, Deployment.apps/v1."""
    return f"{manifest['kind']}.{manifest['apiVersion']}"


def with_value(manifest: Manifest, path: Sequence[str], value: Any) -> Manifest:
    """A copy with one value set, for example at ("spec", "resources", "requests", "storage")."""
    if not path:
        raise ValueError("the path of a value has at least one key")
    key, *rest = path
    return {**manifest, key: with_value(dict(mapping_at(manifest, key)), rest, value) if rest else value}


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ: (path, before, after); lists of named objects are matched by name."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif _named(before) and _named(after):
        yield from differences(_by_name(before), _by_name(after), path)
    else:
        yield path, before, after


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value)


def _by_name(items: list[Any]) -> dict[str, Any]:
    return {item["name"]: item for item in items}
