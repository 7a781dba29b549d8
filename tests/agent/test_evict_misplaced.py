"""Pods that cannot have their node any more are made anew, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from app.agent.evict_misplaced import plan_evictions
from app.agent.patch import Target
from tests.agent.build import Json, allocation, grouped, node, request, snapshot

NODES = [node("n1"), node("n2")]
REFUSED = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
    ]
}


def stuck(host: str = "n1", **more: Any) -> Json:
    """A pod that was given a host and that the scheduler cannot place there."""
    fields: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": host}, "status": REFUSED}
    return grouped(0, 0, **fields | more)


def recalled(item: Json, **objects: Any) -> list[str]:
    facts: dict[str, Any] = {"nodes": NODES, "requests": [request()], "allocations": [allocation({(0, 0): "n2"})]}
    return [patch.key[1] for patch in plan_evictions(snapshot(pods=[item], **facts | objects))]


def test_a_pod_whose_place_was_decided_anew_is_deleted_as_it_was_seen() -> None:
    [patch] = plan_evictions(
        snapshot(pods=[stuck()], nodes=NODES, requests=[request()], allocations=[allocation({(0, 0): "n2"})])
    )
    assert (patch.target, patch.key) == (Target.EVICT, ("team", "llama-0"))
    assert patch.body == {"preconditions": {"uid": "uid-llama-0", "resourceVersion": "10"}}


@pytest.mark.parametrize(
    ("item", "objects"),
    [
        pytest.param(stuck("n2"), {}, id="its place is the decided one"),
        pytest.param(stuck(status={}), {}, id="the scheduler has not refused it"),
        pytest.param(stuck(node="n1"), {}, id="it has its node"),
        pytest.param(stuck(leaving=True), {}, id="it goes already"),
        pytest.param(stuck(gates=["inference.ai/placement"]), {}, id="it is behind the gate"),
        pytest.param(grouped(0, 0, status=REFUSED), {}, id="nobody gave it a host"),
        pytest.param(stuck(), {"allocations": []}, id="nothing is decided"),
        pytest.param(stuck(), {"allocations": [allocation({(0, 0): "n2"}, phase="Pending")]}, id="the service waits"),
        pytest.param(stuck(), {"requests": []}, id="the service has no request"),
    ],
)
def test_a_pod_stays_while(item: Json, objects: dict[str, Any]) -> None:
    assert recalled(item, **objects) == []
