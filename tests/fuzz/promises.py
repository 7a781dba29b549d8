"""What holds for every answer, whatever was asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import orjson

from app.hook import SyncRequest, SyncResponse
from app.kinds import HOOKS
from app.kube.manifest import kind_key
from app.kube.privilege import Allowed, find_privileges
from tests.golden.replay import FOLDER, kind_of, load, newest_time, settings_of

SAMPLE = FOLDER / "inferenceservice" / "llama2-7b-service" / "07-ready.request.json"
MOST_WORK = 10
"""Times the thread CPU of the sample's sync, best of three."""
TENANTS = ("inferenceservice", "modelcache", "inferenceendpoint")
"""Kinds that tenants write. The work of a pool is bounded in total, not by its sample."""
OWN_ACCOUNTS = ("-downloader", "-ssh-keys")


def keep_promises(path: Path, request: dict[str, Any]) -> None:
    """Raises when an answer is an error, acts elsewhere, gives rights, or took too much work."""
    kind, now = kind_of(path), newest_time(load(path))
    seen = SyncRequest.model_validate(request)
    ask = partial(HOOKS[kind].sync, seen, settings_of(path), now)
    began = time.thread_time()
    answer = ask()
    spent = time.thread_time() - began
    _check_children(kind, seen, answer)
    assert len(orjson.dumps(answer.model_dump(mode="json", by_alias=True))) > 0
    HOOKS[kind].customize(seen.parent)
    _check_children(kind, seen, HOOKS[kind].finalize(seen))
    if kind in TENANTS and spent > MOST_WORK * sample_work():
        least = best_of_three(ask)
        assert least <= MOST_WORK * sample_work(), f"{least / sample_work():.1f} times the work of the sample"


def _check_children(kind: str, request: SyncRequest, answer: SyncResponse) -> None:
    for child in answer.children:
        assert request.manages(kind_key(child)), f"{kind_key(child)} is not listed"
        namespace = child["metadata"].get("namespace")
        assert kind not in TENANTS or namespace == request.parent.namespace, f"a child in {namespace}"
        allowed = Allowed([f"{request.parent.name}{suffix}" for suffix in OWN_ACCOUNTS])
        assert list(find_privileges(child, allowed)) == []


@cache
def sample_work() -> float:
    """Seconds of the sample's sync."""
    request = SyncRequest.model_validate(load(SAMPLE))
    return best_of_three(
        partial(HOOKS["inferenceservice"].sync, request, settings_of(SAMPLE), newest_time(load(SAMPLE)))
    )


def best_of_three(ask: Callable[[], object]) -> float:
    """Least seconds of thread CPU."""
    spent = []
    for _ in range(3):
        began = time.thread_time()
        ask()
        spent.append(time.thread_time() - began)
    return min(spent)
