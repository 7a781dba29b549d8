"""Hook requests as an API server full of hostile and unlucky objects would send them.

Each begins with a captured one. Users write specs (within the schema), labels and annotations of their objects, and
may edit our children; so these change at will. What only the API server and the operator write keeps its shape: kinds,
names, namespaces and uids, and the parent's own status.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from app.api.schema import Kind
from app.hooks.kinds import HOOKS
from app.kube.manifest import LAST_APPLIED
from tests.fuzz.values import json_values, values, words
from tests.golden.replay import REQUESTS, kind_of, load

SAMPLES = [path for path in REQUESTS if kind_of(path) in HOOKS]
IDENTITY = ("apiVersion", "kind", "metadata")
CLAIMS: tuple[dict[str, Any], ...] = (
    {"metadata": {"namespace": "victim"}},
    {"metadata": {"name": "other"}},
    {"metadata": {"ownerReferences": [{"kind": "GPUPool", "name": "default", "uid": "1"}], "finalizers": ["keep/me"]}},
    {"kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1"},
    {"spec": {"template": {"spec": {"hostNetwork": True, "serviceAccountName": "metacontroller"}}}},
    {"spec": {"template": {"spec": {"containers": [{"name": {}}, {"name": []}]}}}},
    {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], "roleRef": {"name": "cluster-admin"}},
    {"spec": None},
)
RIGHTS: tuple[dict[str, Any], ...] = (
    {"hostNetwork": True},
    {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]},
    {"serviceAccountName": "metacontroller"},
    {"containers": [{"name": "leader", "securityContext": {"privileged": True}}]},
)


def _spec_schema(kind: Kind) -> Any:
    [version] = kind.to_manifest()["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


SPECS = {name: values(_spec_schema(hooks.kind)) for name, hooks in HOOKS.items()}
LOADED: dict[Path, Any] = {path: load(path) for path in SAMPLES}


@st.composite
def requests(draw: st.DrawFn) -> tuple[Path, dict[str, Any]]:
    """A captured request that somebody tampered with, and where it came from."""
    path = draw(st.sampled_from(SAMPLES))
    request = copy.deepcopy(LOADED[path])
    parent = request["parent"]
    if draw(st.booleans()):
        parent["spec"] = merged(parent["spec"], draw(SPECS[kind_of(path)]))
    if draw(st.booleans()):
        marks = st.dictionaries(words | st.sampled_from(("inference.ai/replan", "inference.ai/refresh")), words)
        parent["metadata"]["annotations"] = draw(marks)
    objects = [*_objects(request["children"]), *_objects(request.get("related", {}))]
    for item in draw(st.lists(st.sampled_from(objects), max_size=3)) if objects else ():
        draw(st.sampled_from((_forge, _spoil, _arm)))(draw, item, objects)
    return path, request


def merged(value: Any, changes: Any) -> Any:
    """Changed fields over those that are there, so that most of a spec still makes sense."""
    if isinstance(value, dict) and isinstance(changes, dict):
        return value | {key: merged(value.get(key), item) for key, item in changes.items()}
    return changes


def _objects(groups: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for group in groups.values():
        yield from group.values()


def _forge(draw: st.DrawFn, item: dict[str, Any], objects: list[dict[str, Any]]) -> None:
    """What was applied last, as somebody claims."""
    text = str(item["metadata"].get("annotations", {}).get(LAST_APPLIED, "{}"))
    claim = draw(st.sampled_from(CLAIMS) | json_values | st.sampled_from(objects))
    said = _read(text)
    forged = merged(said, claim) if isinstance(said, dict) and isinstance(claim, dict) else claim
    item["metadata"].setdefault("annotations", {})[LAST_APPLIED] = draw(
        st.just(json.dumps(forged)) | words | st.just(text[: len(text) // 2])
    )


def _read(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else {}
    except json.JSONDecodeError:
        return {}


def _spoil(draw: st.DrawFn, item: dict[str, Any], _: list[dict[str, Any]]) -> None:
    """A part of an object is missing, or is something else."""
    owner: Any = item
    key = draw(st.sampled_from([key for key in item if key not in IDENTITY] or ["status"]))
    for _step in range(draw(st.integers(0, 6))):
        inner = owner.get(key) if isinstance(owner, dict) else owner[key]
        places = list(inner) if isinstance(inner, dict) else list(range(len(inner))) if isinstance(inner, list) else []
        if not places:
            break
        owner, key = inner, draw(st.sampled_from(places))
    if draw(st.booleans()) or not isinstance(owner, dict):
        owner[key] = draw(json_values)
    else:
        owner.pop(key, None)


def _arm(draw: st.DrawFn, item: dict[str, Any], _: list[dict[str, Any]]) -> None:
    """Pods get rights that ours never have."""
    spec = item.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("template"), dict):
        item["spec"] = merged(spec, {"template": {"spec": draw(st.sampled_from(RIGHTS))}})
