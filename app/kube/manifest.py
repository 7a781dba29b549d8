"""Objects as JSON: emitting what we build, and keeping what already runs exactly as it was applied."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel

from app.kube.fields import DEFAULTED, Fields, spec_fields, within
from app.kube.lenient import mapping_at, text_at, value_at
from app.kube.weight import holds_more

Manifest = dict[str, Any]

LAST_APPLIED = "metacontroller.k8s.io/last-applied-configuration"

SELECTOR_LABEL = "controller-uid"
"""Metacontroller's own, on every child: the uid of its parent. It refuses an answer with another value."""
APPLIED_VALUES = 16_384
"""JSON values of what was applied last; the largest workload that we make has a third of them."""
_OUR_METADATA = ("app.kubernetes.io/", "inference.ai/", "prometheus.io/", SELECTOR_LABEL)
"""Prefixes of the labels and annotations that we write; those of Ingresses are the user's, hence any."""
_MARK = re.compile(r"[a-z0-9.-]{1,253}/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_LONGEST_MARK = 1024
"""Characters of the value of an annotation that comes back after somebody removed it."""


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
    """The object as this operator last applied it, as far as the cluster bears that out: answering it changes nothing.

    Metacontroller's dynamic apply keeps what was applied in an annotation, and whoever may edit the object may write
    there what they like. So the annotation counts only where each of its values stands in the object itself, in a field
    that we write, and where it leaves out no such field but defaults. Else, and under server-side apply, which keeps no
    annotation, it is what stands in those fields.
    Kind, name and namespace are always the object's own; owners and finalizers are never answered. A number of
    replicas that was applied is answered as it stands now, because an autoscaler may have changed it since.

    Answers {} for a kind that is never kept.
    """
    fields = spec_fields(kind_key(observed))
    if fields is None:
        return {}
    applied = annotated(observed)
    spec = _borne_out_spec(applied, observed, fields)
    return {
        "apiVersion": observed["apiVersion"],
        "kind": observed["kind"],
        "metadata": _metadata(applied if spec else {}, observed),
        "spec": spec or within(mapping_at(observed, "spec"), fields),
    }


def annotated(observed: Mapping[str, Any]) -> Manifest:
    """What the annotation claims was applied, {} where it is about another object. For people to look at: never answer
    it."""
    text = text_at(observed, "metadata", "annotations", LAST_APPLIED)
    is_tenants = observed.get("kind") != "GPUAllocation"  # no tenant edits those, and they list up to 10,000 GPUs
    if is_tenants and holds_more(text.encode(errors="replace"), APPLIED_VALUES):
        return {}  # only a forger writes so much
    applied = _parsed_object(text)
    return applied if _is_of(applied, observed) else {}


def _parsed_object(text: str) -> Manifest:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _borne_out_spec(applied: Manifest, observed: Mapping[str, Any], fields: Fields) -> Manifest | None:
    """The spec of the annotation; None where it says what does not stand in the object, or is not ours to say."""
    if not isinstance(applied.get("spec"), dict):
        return None
    replicas = value_at(observed, "spec", "replicas")
    scaled = replicas is not None and "replicas" in applied["spec"]
    spec: Manifest = applied["spec"] | ({"replicas": replicas} if scaled else {})
    try:
        borne_out = within(spec, fields) == spec and _stands_in(spec, observed.get("spec"))
        # a kind of ours has defaults of its own, and no pods
        whole = fields is True or _says_all(spec, within(observed.get("spec"), fields))
        return spec if borne_out and whole else None
    except RecursionError:  # only a forger nests so deep
        return None


def _is_of(applied: Manifest, observed: Mapping[str, Any]) -> bool:
    """Whether the annotation is about this object; somebody may have edited it, or copied it from another one."""
    same = all(applied.get(key) == observed.get(key) for key in ("apiVersion", "kind"))
    places = (text_at(observed, "metadata", "namespace"), "")
    named = text_at(applied, "metadata", "name") == text_at(observed, "metadata", "name")
    return same and named and text_at(applied, "metadata", "namespace") in places


def _stands_in(applied: Any, observed: Any) -> bool:
    """Whether everything that was applied is there; more may be there. Lists of named objects are matched by name."""
    if applied == observed:
        return True
    if isinstance(applied, dict) and isinstance(observed, dict):
        return all(key in observed and _stands_in(value, observed[key]) for key, value in applied.items())
    if not (isinstance(applied, list) and isinstance(observed, list)):
        return False
    if _named(applied) and _named(observed):
        return len(applied) <= len(observed) and _stands_in(_by_name(applied), _by_name(observed))
    return len(applied) == len(observed) and all(map(_stands_in, applied, observed))


def _says_all(applied: Any, stands: Any) -> bool:
    """Whether an annotation that is borne out leaves nothing of ours out. Of a list of named objects others may have
    added some, but not all."""
    if isinstance(applied, dict) and isinstance(stands, dict):
        missing = {key for key in stands.keys() - applied.keys() if _says_something(stands[key])}
        return missing <= DEFAULTED and all(_says_all(applied[key], stands[key]) for key in applied.keys() & stands)
    if not (isinstance(applied, list) and isinstance(stands, list)):
        return True
    if _named(applied) and _named(stands):
        known = _by_name(stands)
        return bool(applied or not stands) and all(_says_all(item, known.get(item["name"])) for item in applied)
    return all(map(_says_all, applied, stands))


def own_metadata(observed: Mapping[str, Any]) -> Manifest:
    """Name and namespace of an observed object, with our labels and annotations as they stand."""
    return _metadata(annotated(observed), observed)


def _metadata(applied: Manifest, observed: Mapping[str, Any]) -> Manifest:
    """`applied` is {} where it does not count."""
    metadata = mapping_at(observed, "metadata")
    place = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    marks = {key: _marks(key, applied, observed) for key in ("labels", "annotations")}
    return place | {key: found for key, found in marks.items() if found}


def _marks(key: str, applied: Manifest, observed: Mapping[str, Any]) -> dict[str, str]:
    """Labels, or annotations: those of ours as they stand, those of ours that were applied and that somebody removed,
    and any other that stands as it was applied."""
    stands = mapping_at(observed, "metadata", key)
    said = value_at(applied, "metadata", key)
    if isinstance(said, dict):
        kept = {
            name: stands[name] for name in said if name in stands and (said[name] == stands[name] or _is_ours(name))
        }
        back = {name: it for name, it in said.items() if name not in stands and _comes_back(key, name, it)}
        own = {SELECTOR_LABEL: stands[SELECTOR_LABEL]} if key == "labels" and SELECTOR_LABEL in stands else {}
        return kept | back | own
    is_users = observed["kind"] == "Ingress" and key == "annotations"
    return {name: it for name, it in stands.items() if name != LAST_APPLIED and (is_users or _is_ours(name))}


def _comes_back(key: str, name: str, value: Any) -> bool:
    """Whether a mark that is said to have been applied is one of ours that the API server would take."""
    if not isinstance(value, str) or not _is_ours(name) or name == SELECTOR_LABEL or not _MARK.fullmatch(name):
        return False
    return _LABEL.fullmatch(value) is not None if key == "labels" else len(value) <= _LONGEST_MARK


def _is_ours(mark: str) -> bool:
    return mark.startswith(_OUR_METADATA)


def annotation(manifest: Mapping[str, Any], name: str) -> str:
    """An annotation's value, "" when it is not there."""
    return text_at(manifest, "metadata", "annotations", name)


def kind_key(manifest: Mapping[str, Any]) -> str:
    """The outer key of `children` under which an object of this kind stands: Service.v1, Deployment.apps/v1."""
    return f"{manifest.get('kind')}.{manifest.get('apiVersion')}"


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
    """Whether this is a list of objects that names tell apart; what people wrote may be anything."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return False
    names = [item.get("name") for item in value]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _by_name(items: list[Any]) -> dict[str, Any]:
    return {item["name"]: item for item in items}
