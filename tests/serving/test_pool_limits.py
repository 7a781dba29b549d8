"""Limits of pools as metrics: of the pools that a replica answers, by pool and place of the limit, and no longer."""

from __future__ import annotations

import orjson
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest

from app.metrics import LimitUse, PoolLimits
from app.serving.http import build_app
from app.serving.pools import read_limits
from app.settings import Settings
from tests.bench.tiny import REQUEST
from tests.gpupool.pool import gpu_node, request
from tools.sandbox.api import Object

API = "inference.ai/v1alpha1"


def body(*limits: Object) -> bytes:
    parent = {"metadata": {"name": "shared", "uid": "pool-of-limits"}, "spec": {"limits": list(limits)}}
    related = {
        f"GPUNode.{API}": {"n1": gpu_node("n1")},
        REQUEST: {f"a/s{it}": request(f"a/s{it}", 4, pool="shared") for it in range(2)},
    }
    return orjson.dumps({"parent": parent, "children": {f"GPUAllocation.{API}": {}}, "related": related})


def series(text: str, pool: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.startswith("inference_operator_pool_limit_") and pool in line]
    return {name.removeprefix("inference_operator_pool_limit_"): float(it) for name, it in map(str.split, lines)}


def test_a_limit_and_its_use_are_told_once_the_pool_is_synced() -> None:
    with TestClient(build_app(Settings())) as client:
        assert client.post("/sync/gpupool", content=body({"maxPriority": 1}, {"gpus": 5})).status_code == 200
        assert series(client.get("/metrics").text, "shared") == {
            'gpus{limit="1",pool="shared"}': 5.0,
            'used_gpus{limit="1",pool="shared"}': 4.0,
            'waiting_services{limit="1",pool="shared"}': 1.0,
        }
        assert client.post("/sync/gpupool", content=body()).status_code == 200
        assert series(client.get("/metrics").text, "shared") == {}, "the limit is gone"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(limits: PoolLimits) -> str:
    registry = CollectorRegistry()
    registry.register(limits)
    return generate_latest(registry).decode()


def test_what_another_replica_answers_is_forgotten(clock: Clock) -> None:
    limits = PoolLimits(clock)
    limits.record("old", [LimitUse(0, 8, 4, 0)])
    clock.now = PoolLimits.KEPT_SECONDS - 1
    assert len(series(told(limits), "old")) == 3
    clock.now += 2
    assert series(told(limits), "old") == {}


def test_however_many_pools_are_made_up_the_series_are_bounded(clock: Clock) -> None:
    limits = PoolLimits(clock)
    for number in range(10 * PoolLimits.MOST_POOLS):
        limits.record(f"made-up-{number}", [LimitUse(0, 8, 4, 0)])
    assert len(series(told(limits), "made-up")) == 3 * PoolLimits.MOST_POOLS


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"status": {"limits": 3}}', b'{"status": {}}'])
def test_an_answer_without_limits_tells_none(answer: bytes) -> None:
    assert list(read_limits(answer)) == []
