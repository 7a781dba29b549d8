"""Emitting objects, and keeping what runs exactly as it was applied."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.kube.manifest import LAST_APPLIED, differences, last_applied, with_value, without_server_fields

CHILD: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "demo", "namespace": "ns", "labels": {"team": "a"}},
    "spec": {"replicas": 2, "paused": False},
}


def observed(annotation: str | None, **spec: Any) -> dict[str, Any]:
    """CHILD as the API server holds it, with whatever stands in the annotation now."""
    server = {"uid": "1", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"}
    annotations = {} if annotation is None else {"annotations": {LAST_APPLIED: annotation}}
    return {
        **CHILD,
        "metadata": CHILD["metadata"] | server | annotations,
        "spec": CHILD["spec"] | {"revisionHistoryLimit": 10} | spec,
        "status": {"replicas": 2},
    }


def test_what_was_applied_is_answered_without_the_servers_defaults() -> None:
    assert last_applied(observed(json.dumps(CHILD))) == CHILD


@pytest.mark.parametrize("count", [0, 1, 5])
def test_replicas_that_somebody_scaled_stay_as_they_are(count: int) -> None:
    """The applied number would scale the groups back at every sync that holds them."""
    assert last_applied(observed(json.dumps(CHILD), replicas=count))["spec"] == CHILD["spec"] | {"replicas": count}


def test_replicas_that_were_never_applied_stay_out() -> None:
    spec = {"paused": False}
    applied = CHILD | {"spec": spec}
    assert last_applied(observed(json.dumps(applied), replicas=5))["spec"] == spec


@pytest.mark.parametrize(
    "annotation",
    [
        pytest.param(None, id="server-side apply keeps none"),
        pytest.param("", id="empty"),
        pytest.param("{not json", id="no JSON"),
        pytest.param("[1]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param("{}", id="an empty object"),
        pytest.param('{"spec": {}}', id="an object without a name"),
        pytest.param(json.dumps(CHILD | {"metadata": {"name": "other"}}), id="another object's"),
        pytest.param(json.dumps(CHILD | {"kind": "Pod"}), id="another kind's"),
        pytest.param(json.dumps(CHILD | {"spec": 3}), id="a spec that is none"),
        pytest.param(json.dumps(CHILD | {"metadata": 3}), id="metadata that are none"),
    ],
)
def test_without_a_usable_annotation_the_object_itself_is_answered(annotation: str | None) -> None:
    answer = last_applied(observed(annotation))
    assert answer["spec"] == CHILD["spec"] | {"revisionHistoryLimit": 10}
    assert answer["metadata"]["name"] == "demo"
    assert "status" not in answer
    assert "annotations" not in answer["metadata"]
    assert not answer["metadata"].keys() & {"uid", "resourceVersion", "generation", "creationTimestamp"}


def test_what_only_the_server_writes_is_left_out() -> None:
    metadata = {"name": "a", "finalizers": ["x"], "ownerReferences": [{}], "managedFields": [{}], "labels": {"a": "b"}}
    kept = without_server_fields({"kind": "Pod", "metadata": metadata, "status": {}, "data": {}})
    assert kept == {"kind": "Pod", "metadata": {"name": "a", "labels": {"a": "b"}}, "data": {}}


def test_one_value_is_set_in_a_copy() -> None:
    before = {"spec": {"a": 1, "resources": {"x": 1}}}
    after = with_value(before, ("spec", "resources", "requests", "storage"), "1Gi")
    assert after == {"spec": {"a": 1, "resources": {"x": 1, "requests": {"storage": "1Gi"}}}}
    assert before == {"spec": {"a": 1, "resources": {"x": 1}}}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="nothing"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", 1, 2)], id="a value"),
        pytest.param({"a": 1}, {}, [("a", 1, None)], id="a value that went"),
        pytest.param({}, {"a": 1}, [("a", None, 1)], id="a value that came"),
        pytest.param([1, 2], [2, 1], [("", [1, 2], [2, 1])], id="a plain list is one value"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]},
            {"env": [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]},
            [("env.A.value", "1", "2")],
            id="named objects are matched by name",
        ),
        pytest.param(
            {"env": [{"name": "A"}]}, {"env": []}, [("env.A", {"name": "A"}, None)], id="a named object that went"
        ),
    ],
)
def test_differences_name_their_place(before: Any, after: Any, found: list[Any]) -> None:
    assert list(differences(before, after)) == found
