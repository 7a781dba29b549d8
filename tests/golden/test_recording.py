"""What stands between a request and its file: the recorder of the hook service, and plain names for what is random."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.golden.plain import Plain, gist
from tests.golden.replay import FOLDER
from tests.golden.scenarios import SCENARIOS
from tests.golden.scene import Scenario
from tools.sandbox.record import record_into

BEGUN = datetime(2026, 11, 30, 22, 0, 0, tzinfo=UTC)
UID = "9ff02c3a-048d-4bc8-92e9-21a4537f8b96"


def test_a_time_is_told_from_the_begin_of_its_scenario_wherever_it_stands() -> None:
    said = {"at": "2026-11-30T22:00:07Z", "text": "again at 2026-11-30T22:01:07.250Z", "old": "2020-02-02T00:00:00Z"}
    assert json.loads(Plain(BEGUN).text(said)) == {
        "at": "2026-01-01T00:00:07Z", "text": "again at 2026-01-01T00:01:07.250Z", "old": "2020-02-02T00:00:00Z",
    }  # fmt: skip


def test_the_same_thing_has_the_same_name_in_all_requests_of_a_scenario() -> None:
    plain = Plain(BEGUN)
    other = UID.replace("9", "8")
    first = json.loads(plain.text({"a": UID, "b": {"resourceVersion": "288"}, "managedFields": [], "c": f"pvc-{UID}"}))
    second = json.loads(plain.text({"a": other, "b": UID, "c": "10.96.3.4", "d": {"nodePort": 31234}}))
    name = "00000000-0000-4000-8000-000000000001"
    assert first == {"a": name, "b": {"resourceVersion": "1"}, "c": f"pvc-{name}"}
    assert second == {"a": name[:-1] + "2", "b": name, "c": "10.0.0.1", "d": {"nodePort": 30_001}}


def test_the_port_of_the_hook_service_is_the_same_in_every_recording() -> None:
    assert "http://127.0.0.1:8080/sync/gpupool" in Plain(BEGUN).text({"url": "http://127.0.0.1:52653/sync/gpupool"})


def test_a_request_that_differs_in_times_and_versions_alone_says_nothing_new() -> None:
    said: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "at": "2026-01-01T00:00:07Z", "phase": "Ready"}
    later = {"metadata": {"resourceVersion": "2"}, "at": "2026-01-01T00:00:09Z", "phase": "Ready"}
    assert gist(json.dumps(said)) == gist(json.dumps(later))
    assert gist(json.dumps(said)) != gist(json.dumps(later | {"phase": "Failed"}))


def test_every_hook_is_recorded_and_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    namespaced = {"parent": {"metadata": {"name": "demo", "namespace": "ns"}}}
    for _ in range(2):
        client = TestClient(record_into(tmp_path, FastAPI()))
        client.post("/sync/modelcache", json=namespaced)
        client.post("/customize/modelcache", json=namespaced)
        client.post("/sync/gpunode", json={"object": {"metadata": {"name": "n"}}})
        client.post("/elsewhere", json={})
    found = sorted(str(it.relative_to(tmp_path)) for it in tmp_path.rglob("*") if it.is_file())
    assert found == [
        "gpunode/n/00003.json", "gpunode/n/00006.json",
        "modelcache/ns.demo/00001.json", "modelcache/ns.demo/00002.customize.json",
        "modelcache/ns.demo/00004.json", "modelcache/ns.demo/00005.customize.json",
    ]  # fmt: skip


@pytest.mark.parametrize("story", [it for it in SCENARIOS if not it.alone], ids=lambda it: it.name)
def test_every_scenario_was_recorded(story: Scenario) -> None:
    message = f"record it: .venv/bin/python -m tests.golden.capture {story.name}"
    assert list(FOLDER.glob(f"*/{story.name}/*request.json")), message
