"""The short form of `make fuzz`, from the same seed at each run."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import pytest

from app.hooks.kinds import HOOKS
from app.metacontroller.protocol import SyncRequest, SyncResponse
from app.settings import Settings
from tests.fuzz.promises import MOST_STORED, SAMPLE, keep_promises
from tests.fuzz.requests import SAMPLES
from tests.fuzz.run import ROUND, fuzz
from tests.golden.replay import kind_of, load

SEED, SECONDS = 1, 60


def test_a_minute_of_hostile_requests_breaks_no_promise() -> None:
    assert fuzz(SEED, SECONDS) >= ROUND


@pytest.mark.parametrize(
    "children",
    [
        pytest.param(
            [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b"}}], id="stray"
        ),
        pytest.param([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}], id="unlisted"),
    ],
)
def test_a_broken_promise_is_seen(monkeypatch: pytest.MonkeyPatch, children: list[dict[str, Any]]) -> None:
    broken = HOOKS["inferenceservice"]._replace(sync=lambda *_: SyncResponse(status={}, children=children))
    monkeypatch.setitem(HOOKS, "inferenceservice", broken)
    with pytest.raises(AssertionError):
        keep_promises(SAMPLE, load(SAMPLE))


def test_a_request_beyond_its_bound_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(it for it in SAMPLES if kind_of(it) == "modelcache")
    usual = HOOKS["modelcache"].sync

    def slow(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
        sum(range(10**7))
        return usual(request, settings, now)

    monkeypatch.setitem(HOOKS, "modelcache", HOOKS["modelcache"]._replace(sync=slow))
    with pytest.raises(AssertionError, match="times the work of the sample"):
        keep_promises(path, load(path))


def test_what_no_cluster_can_store_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
        raise RuntimeError("asked")

    monkeypatch.setitem(HOOKS, "inferenceservice", HOOKS["inferenceservice"]._replace(sync=fail))
    request = load(SAMPLE)
    for size in (10, MOST_STORED):
        parent = request["parent"] | {"spec": {"vllm": {"engineArgs": {"x": "x" * size}}}}
        with nullcontext() if size > 10 else pytest.raises(RuntimeError, match="asked"):
            keep_promises(SAMPLE, request | {"parent": parent})


def test_the_command_prints_its_seed_and_repeats_it() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", "0.01", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "from seed 7" in done.stdout
    assert "no child elsewhere" in done.stdout
