"""The HTTP edge of kinds that are attached to objects of others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.hooks.kinds import DECORATORS, HOOKS
from app.serving.http import build_app
from app.settings import Settings
from tests.golden.replay import FOLDER, load

LABELLED = FOLDER / "gpunode" / "eight-mi300x" / "01-created.request.json"
WITHOUT_GPUS = FOLDER / "gpunode" / "cpu" / "01-created.request.json"


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = build_app(Settings(), lambda: datetime(2026, 1, 1, tzinfo=UTC))
    return TestClient(app, raise_server_exceptions=False)


def test_no_name_is_served_twice() -> None:
    assert not HOOKS.keys() & DECORATORS.keys()


def test_a_sync_is_answered_with_the_fields_metacontroller_knows_and_no_others(client: TestClient) -> None:
    answer = client.post("/sync/gpunode", json=load(LABELLED))
    assert answer.status_code == 200
    assert answer.json().keys() == {"labels", "attachments", "resyncAfterSeconds"}


def test_a_label_is_removed_by_null(client: TestClient) -> None:
    answer = client.post("/sync/gpunode", json=load(WITHOUT_GPUS)).json()
    assert answer["labels"] == {"inference.ai/gpu-product": None, "inference.ai/gpu-partition": None}
    assert answer["attachments"] == []


@pytest.mark.parametrize("hook", ["customize", "finalize"])
def test_there_is_no_other_hook(client: TestClient, hook: str) -> None:
    answer = client.post(f"/{hook}/gpunode", json=load(LABELLED))
    assert (answer.status_code, "no hook but sync" in answer.json()["error"]) == (404, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"{", "not JSON", id="half an object"),
        pytest.param(b"{}", "object: Field required", id="no object"),
        pytest.param(b'{"object": {"metadata": null}}', "object.metadata", id="no metadata"),
    ],
)
def test_a_wrong_body_is_the_callers_mistake(client: TestClient, body: bytes, words: str) -> None:
    answer = client.post("/sync/gpunode", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_a_bug_is_a_500_so_that_no_gpunode_is_deleted(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setitem(DECORATORS, "gpunode", DECORATORS["gpunode"]._replace(sync=broken))  # type: ignore[arg-type]
    answer = client.post("/sync/gpunode", json=load(LABELLED))
    assert answer.status_code == 500
    assert "secret detail" not in answer.text


def test_an_answer_that_is_known_already_is_not_sent_again(client: TestClient) -> None:
    first = client.post("/sync/gpunode", json=load(LABELLED))
    again = client.post("/sync/gpunode", json=load(LABELLED), headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_metrics_count_calls_and_syncs(client: TestClient) -> None:
    client.post("/sync/gpunode", json=load(LABELLED))
    text = client.get("/metrics").text
    assert 'inference_operator_hook_requests_total{code="200",hook="sync",kind="gpunode"}' in text
    assert 'inference_operator_syncs_total{kind="GPUNode",phase="-"}' in text
