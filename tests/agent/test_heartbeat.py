"""One heartbeat a minute on every pool."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.agent.heartbeat import plan_heartbeats
from tests.agent.build import pool, snapshot

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stamped", "due"),
    [
        pytest.param("", True, id="none yet"),
        pytest.param("2026-01-01T11:59:00Z", True, id="a minute old"),
        pytest.param("2026-01-01T11:59:01Z", False, id="less than a minute old"),
        pytest.param("2026-01-01T12:00:30Z", False, id="a little ahead, by another replica's clock"),
        pytest.param("2027-01-01T12:00:00Z", True, id="far ahead"),
        pytest.param("yesterday", True, id="not a time"),
    ],
)
def test_a_heartbeat_is_due(stamped: str, due: bool) -> None:
    patches = plan_heartbeats(snapshot(pools=[pool(heartbeat=stamped)]), NOW)
    written = [patch.body["metadata"]["annotations"]["inference.ai/agent-heartbeat"] for patch in patches]
    assert written == (["2026-01-01T12:00:00Z"] if due else [])
