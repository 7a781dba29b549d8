"""Emitting objects, and keeping what runs exactly as it was applied."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.kube.manifest import LAST_APPLIED, differences, last_applied, with_value

CHILD: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "demo", "namespace": "ns", "labels": {"app.kubernetes.io/name": "a"}},
    "spec": {"replicas": 2, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate"}},
}


NESTED: dict[str, Any] = {}
for _ in range(900):
    NESTED = {"type": NESTED}


def claim(metadata: dict[str, Any] | None = None, spec: dict[str, Any] | None = None) -> str:
    """CHILD as somebody claims it was applied."""
    return json.dumps(CHILD | {"metadata": CHILD["metadata"] | (metadata or {}), "spec": CHILD["spec"] | (spec or {})})


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
    spec = {"progressDeadlineSeconds": 600}
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
        pytest.param(claim(metadata={"namespace": "victim"}), id="another namespace's"),
        pytest.param(claim(spec={"replicas": 2, "paused": True}), id="a field that is not ours"),
        pytest.param(claim(spec={"progressDeadlineSeconds": 1}), id="a value that does not stand in the object"),
        pytest.param(claim(spec={"selector": {"matchLabels": {"a": "b"}}}), id="a field that the object lacks"),
        pytest.param(claim(spec={"strategy": NESTED}), id="nested more deeply than anything of ours"),
        pytest.param(json.dumps(CHILD | {"spec": {}}), id="a spec that leaves out all"),
    ],
)
def test_without_a_usable_annotation_the_object_itself_is_answered(annotation: str | None) -> None:
    answer = last_applied(observed(annotation))
    assert answer == CHILD


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"ownerReferences": [{"kind": "GPUPool", "name": "default", "uid": "1"}]}, id="an owner"),
        pytest.param({"finalizers": ["keep/me"]}, id="a finalizer"),
        pytest.param({"annotations": {"example.com/x": "1"}}, id="an annotation that the object lacks"),
        pytest.param({"labels": {"app.kubernetes.io/name": "a", "example.com/x": "1"}}, id="a label of others"),
        pytest.param({"labels": {"app.kubernetes.io/name": "a", "inference.ai/x": {}}}, id="a label that is none"),
        pytest.param({"labels": {"app.kubernetes.io/name": "a"}, "generateName": "x"}, id="a name to come"),
        pytest.param({"labels": {"app.kubernetes.io/name": "a", "inference.ai/x": "a b"}}, id="a value of no label"),
        pytest.param({"labels": {"app.kubernetes.io/name": "a", "inference.ai/x y": "a"}}, id="a name of no label"),
        pytest.param({"labels": {"app.kubernetes.io/name": "a", "controller-uid": "2"}}, id="another parent"),
        pytest.param({"annotations": {"inference.ai/x": "a" * 2000}}, id="an annotation that is very long"),
        pytest.param({"labels": ["app.kubernetes.io/name"]}, id="labels that are a list"),
        pytest.param({"labels": None}, id="labels that are null"),
    ],
)
def test_of_the_annotations_metadata_only_our_marks_count(metadata: dict[str, Any]) -> None:
    assert last_applied(observed(claim(metadata))) == CHILD


def test_a_mark_of_ours_that_somebody_removed_comes_back() -> None:
    child = observed(json.dumps(CHILD))
    child["metadata"] = {key: value for key, value in child["metadata"].items() if key != "labels"}
    assert last_applied(child) == CHILD


def test_what_others_added_is_neither_answered_nor_a_contradiction() -> None:
    containers = [{"name": "leader", "image": "a", "env": [{"name": "A", "value": "1"}]}]
    applied = CHILD | {"spec": {"template": {"spec": {"containers": containers}}}}
    added = [{"name": "sidecar", "image": "b"}, containers[0] | {"env": [*containers[0]["env"], {"name": "B"}]}]
    child = observed(json.dumps(applied), template={"spec": {"containers": added, "hostNetwork": True}})
    assert last_applied(child) == applied


@pytest.mark.parametrize("kind", ["Role", "RoleBinding", "ServiceAccount", "NetworkPolicy", "ClusterRole", "Pod"])
def test_a_kind_that_is_always_built_or_unknown_is_never_kept(kind: str) -> None:
    version = {"ServiceAccount": "v1", "Pod": "v1", "NetworkPolicy": "networking.k8s.io/v1"}
    child = CHILD | {"kind": kind, "apiVersion": version.get(kind, "rbac.authorization.k8s.io/v1"), "rules": [{}]}
    assert (
        last_applied(child | {"metadata": child["metadata"] | {"annotations": {LAST_APPLIED: json.dumps(child)}}}) == {}
    )


def test_the_parent_is_who_stands_there() -> None:
    """Metacontroller refuses an answer with another value, and with it all children."""
    child = observed(claim({"labels": {"app.kubernetes.io/name": "a", "controller-uid": "2"}}))
    child["metadata"] = child["metadata"] | {"labels": {"app.kubernetes.io/name": "a", "controller-uid": "1"}}
    assert last_applied(child)["metadata"]["labels"] == {"app.kubernetes.io/name": "a", "controller-uid": "1"}


@pytest.mark.parametrize("left_out", ["securityContext", "image", "containers", "template"])
def test_an_annotation_that_leaves_a_field_of_ours_out_counts_as_missing(left_out: str) -> None:
    """An answer without a container's securityContext would be one with privileges."""

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [without(item) for item in value]
        return {k: without(v) for k, v in value.items() if k != left_out} if isinstance(value, dict) else value

    container = {"name": "leader", "image": "a", "securityContext": {"allowPrivilegeEscalation": False}}
    applied = CHILD | {"spec": {"template": {"spec": {"containers": [container]}}}}
    child = observed(json.dumps(without(applied)), template={"spec": {"containers": [container]}})
    assert last_applied(child)["spec"]["template"]["spec"]["containers"] == [container]


def test_an_annotation_of_no_containers_counts_as_missing() -> None:
    containers = [{"name": "leader", "image": "a"}]
    applied = CHILD | {"spec": {"template": {"spec": {"containers": []}}}}
    child = observed(json.dumps(applied), template={"spec": {"containers": containers}})
    assert last_applied(child)["spec"]["template"]["spec"]["containers"] == containers


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
        pytest.param([{"name": {}}], [{"name": []}], [("", [{"name": {}}], [{"name": []}])], id="names that are none"),
        pytest.param(
            [{"name": "A", "x": 1}, {"name": "A", "x": 2}],
            [{"name": "A", "x": 1}],
            [("", [{"name": "A", "x": 1}, {"name": "A", "x": 2}], [{"name": "A", "x": 1}])],
            id="a name twice",
        ),
        pytest.param(
            {"env": [{"name": "A"}]}, {"env": []}, [("env.A", {"name": "A"}, None)], id="a named object that went"
        ),
    ],
)
def test_differences_name_their_place(before: Any, after: Any, found: list[Any]) -> None:
    assert list(differences(before, after)) == found
