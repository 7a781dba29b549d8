"""The HTTP edge: what is answered to right, wrong and unlucky calls."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import metrics
from app.hooks.kinds import HOOKS
from app.serving.http import build_app
from app.settings import Settings
from tests.golden.replay import ANSWERS, REQUESTS, case_name, load

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("inferenceservice", "modelcache", "inferenceendpoint")


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(build_app(Settings(), lambda: NOW), raise_server_exceptions=False)


def request_of(kind: str) -> Any:
    return load(next(path for path in REQUESTS if path.parent.parent.name == kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sync_is_answered_with_the_fields_metacontroller_knows_and_no_others(client: TestClient, kind: str) -> None:
    answer = client.post(f"/sync/{kind}", json=request_of(kind))
    assert answer.status_code == 200
    assert answer.json().keys() <= {"status", "children", "resyncAfterSeconds", "finalized"}
    assert answer.json()["children"]


def labelled(child: Any, labels: Any) -> Any:
    return child | {"metadata": child["metadata"] | {"labels": labels}}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda child: child | {"kind": "Pod"}, id="another kind"),
        pytest.param(lambda child: child | {"apiVersion": None}, id="no version"),
        pytest.param(lambda child: child | {"metadata": {}}, id="no name"),
        pytest.param(lambda child: child | {"metadata": child["metadata"] | {"namespace": "other"}}, id="elsewhere"),
        pytest.param(lambda child: labelled(child, ["a"]), id="labels that are a list"),
        pytest.param(lambda child: labelled(child, {"a": 1}), id="a label that is a number"),
    ],
)
@pytest.mark.parametrize("hook", ["sync", "finalize"])
def test_a_child_that_is_not_what_its_keys_say_is_a_400(client: TestClient, hook: str, change: Any) -> None:
    """As a 200 it would be removed, though nobody knows what it is."""
    body = json.loads(json.dumps(load(next(it for it in REQUESTS if "llama2-cache/04-ready" in str(it)))))
    assert client.post(f"/{hook}/modelcache", json=body).status_code == 200
    claims = body["children"]["PersistentVolumeClaim.v1"]
    body["children"]["PersistentVolumeClaim.v1"] = {key: change(child) for key, child in claims.items()}
    answer = client.post(f"/{hook}/modelcache", json=body)
    assert answer.status_code == 400
    assert "is not what its keys say" in answer.json()["error"]


@pytest.mark.parametrize("marks", [3, "a", ["a"], {"a": 1}, {"inference.ai/agent-heartbeat": 3}])
@pytest.mark.parametrize("kind", ["inferenceservice", "gpupool"])
def test_labels_and_annotations_of_the_parent_may_be_anything(client: TestClient, kind: str, marks: Any) -> None:
    body = json.loads(json.dumps(request_of(kind)))
    body["parent"]["metadata"] |= {"labels": marks, "annotations": marks}
    assert client.post(f"/sync/{kind}", json=body).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_finalize_lets_the_parent_go(client: TestClient, kind: str) -> None:
    assert client.post(f"/finalize/{kind}", json=request_of(kind)).json()["finalized"] is True


def test_a_customize_names_exact_objects_of_the_parents_namespace(client: TestClient) -> None:
    parent = {"metadata": {"name": "a", "namespace": "ns"}, "spec": {"storage": {"modelCache": "weights"}}}
    answer = client.post("/customize/inferenceservice", json={"parent": parent}).json()
    exact = {"apiVersion": "inference.ai/v1alpha1", "namespace": "ns"}
    assert answer == {
        "relatedResources": [
            exact | {"resource": "gpuallocations", "names": ["a"]},
            exact | {"resource": "modelcaches", "names": ["weights"]},
            exact | {"resource": "gpuallocations", "labelSelector": {"matchLabels": {"inference.ai/line": "full"}}},
            exact | {"resource": "gpurequests", "labelSelector": {"matchLabels": {"inference.ai/cache": "weights"}}},
        ]
    }


def test_a_pools_customize_takes_all_objects_of_our_kinds(client: TestClient) -> None:
    answer = client.post("/customize/gpupool", json={"parent": {"metadata": {"name": "default"}, "spec": {}}}).json()
    ours = {"apiVersion": "inference.ai/v1alpha1"}
    assert answer == {"relatedResources": [ours | {"resource": it} for it in ("gpunodes", "gpurequests", "gpupools")]}


def test_a_pool_looks_at_namespaces_only_when_it_selects_among_them(client: TestClient) -> None:
    spec = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    answer = client.post("/customize/gpupool", json={"parent": {"metadata": {"name": "default"}, "spec": spec}}).json()
    assert {"apiVersion": "v1", "resource": "namespaces"} in answer["relatedResources"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [{}, {"storage": 7}, {"storage": {"modelCache": 3}}, {"service": ["x"]}])
def test_a_customize_of_a_strange_spec_relates_to_nothing_of_it(client: TestClient, kind: str, spec: Any) -> None:
    parent = {"metadata": {"name": "a", "namespace": "ns"}, "spec": spec}
    answer = client.post(f"/customize/{kind}", json={"parent": parent})
    assert answer.status_code == 200
    assert {it["resource"] for it in answer.json()["relatedResources"]} <= {"gpuallocations"}


@pytest.mark.parametrize("hook", ["sync", "customize", "finalize"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"{", "not JSON", id="half an object"),
        pytest.param(b"[]", "Input should be", id="a list"),
        pytest.param(b"{}", "parent: Field required", id="no parent"),
        pytest.param(b'{"parent": 3}', "parent: Input should be", id="a number for a parent"),
        pytest.param(b'{"parent": {"metadata": null}}', "parent.metadata", id="no metadata"),
    ],
)
def test_a_wrong_body_is_the_callers_mistake(client: TestClient, hook: str, body: bytes, words: str) -> None:
    answer = client.post(f"/{hook}/inferenceservice", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("hook", ["sync", "customize", "finalize"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("metadata", "missing"), [({}, "name"), ({"name": "a"}, "namespace"), ({"name": 3}, "name")])
def test_a_parent_without_a_name_or_namespace_is_the_callers_mistake(
    client: TestClient, hook: str, kind: str, metadata: Any, missing: str
) -> None:
    parent = {"metadata": metadata, "spec": request_of(kind)["parent"]["spec"]}
    answer = client.post(f"/{hook}/{kind}", json={"parent": parent})
    assert answer.status_code == 400
    assert f"metadata.{missing} is missing" in answer.json()["error"]


def test_an_unknown_kind_is_named(client: TestClient) -> None:
    answer = client.post("/sync/pod", json={})
    assert (answer.status_code, "no kind 'pod'" in answer.json()["error"]) == (404, True)


def test_a_bug_is_a_500_so_that_nothing_changes(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setitem(HOOKS, "modelcache", HOOKS["modelcache"]._replace(sync=broken))  # type: ignore[arg-type]
    answer = client.post("/sync/modelcache", json=request_of("modelcache"))
    assert answer.status_code == 500
    assert "nothing was changed" in answer.json()["error"]
    assert "secret detail" not in answer.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_spec_that_cannot_be_read_changes_nothing(client: TestClient, kind: str) -> None:
    request = next(load(path) for path in reversed(REQUESTS) if path.parent.parent.name == kind)
    request["parent"]["spec"] = {}
    if kind == "modelcache":
        request["parent"]["spec"] = {"modelName": 3}
    answer = client.post(f"/sync/{kind}", json=request).json()
    observed = {name for group in request["children"].values() for name in group}
    kept = {f"{it['metadata']['namespace']}/{it['metadata']['name']}" for it in answer["children"]}
    assert kept == observed
    [headline] = [it for it in answer["status"]["conditions"] if it["type"] in ("Ready", "Available")]
    assert (headline["status"], headline["reason"]) == ("False", "ConfigurationError")
    assert "spec." in headline["message"]


def test_an_answer_that_is_known_already_is_not_sent_again(client: TestClient) -> None:
    body = request_of("inferenceendpoint")
    first = client.post("/sync/inferenceendpoint", json=body)
    again = client.post("/sync/inferenceendpoint", json=body, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ANSWERS, ids=case_name)
def test_every_phase_that_is_answered_is_a_label(path: Path) -> None:
    phase = load(path).get("status", {}).get("phase", "")
    assert metrics.phase_label(phase) == (phase or "-"), "add it to PHASES in app/metrics.py"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_answered(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_metrics_count_calls_by_hook_kind_and_code(client: TestClient) -> None:
    client.post("/sync/modelcache", content=b"{")
    text = client.get("/metrics").text
    assert 'inference_operator_hook_requests_total{code="400",hook="sync",kind="modelcache"}' in text
    assert "inference_operator_hook_duration_seconds_bucket" in text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_the_interface_is_not_described_to_whoever_asks(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_interface_describes_itself_where_a_setting_says_so() -> None:
    client = TestClient(build_app(Settings(api_docs=True)))
    assert client.get("/docs").status_code == 200
    paths = json.loads(client.get("/openapi.json").text)["paths"]
    assert {"/sync/{kind}", "/customize/{kind}", "/finalize/{kind}", "/healthz", "/metrics"} <= paths.keys()
