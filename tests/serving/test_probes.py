"""Probes and metrics: answered whatever the hooks do."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.serving.answer import refusal
from app.serving.edge import Edge
from app.serving.http import build_app
from app.serving.probes import STUCK_SECONDS, Pulse, build_probes_app
from app.serving.workers import Workers
from app.settings import Settings
from tests.serving.running import HANG_SECONDS, serving


def test_probes_are_answered_while_a_hook_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    computing, ended = threading.Event(), threading.Event()

    def endless(*_: Any) -> Any:
        computing.set()
        while not ended.is_set():
            pass
        return refusal(500, "ended by the test")

    monkeypatch.setattr("app.serving.edge.answer", endless)
    app = build_app(Settings(), lambda: datetime(2026, 1, 1, tzinfo=UTC), Edge(Settings(), Workers(Settings())))
    with serving(app) as hooks, serving(build_probes_app(app.state.pulse)) as probes:
        client = threading.Thread(target=hooks.post, args=["/sync/modelcache"])
        client.start()
        try:
            assert computing.wait(HANG_SECONDS)
            codes = [probes.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")]
        finally:
            ended.set()
            client.join()
    assert codes == [200] * 3


@pytest.mark.parametrize("path", ["/sync/modelcache", "/customize/gpupool", "/docs", "/openapi.json"])
def test_the_port_of_the_probes_has_no_hooks(path: str) -> None:
    assert TestClient(build_probes_app(Pulse())).post(path, json={}).status_code == 404


def test_a_loop_that_stands_still_for_long_is_not_healthy() -> None:
    now = 0.0
    pulse = Pulse(lambda: now)
    client = TestClient(build_probes_app(pulse))
    codes = [client.get("/healthz").status_code]
    pulse.beat()
    for later in (STUCK_SECONDS, STUCK_SECONDS + 1):
        now = later
        codes.append(client.get("/healthz").status_code)
    pulse.beat()
    codes.append(client.get("/healthz").status_code)
    assert codes == [200, 200, 503, 200]
