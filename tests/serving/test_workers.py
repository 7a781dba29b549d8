"""Worker processes: what they compute, what ends them, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.gpupool.line import MOST_ANSWERS
from app.kube.names import LINE_LABEL
from app.serving.answer import Answer, Call, answer
from app.serving.workers import SLOTS, OverrunError, Workers, memory_for
from app.settings import Settings
from tests.bench.planner import API, build_request
from tests.golden.replay import FOLDER
from tests.serving.running import HANG_SECONDS, children, wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SYNC = Call("sync", "gpupool", NOW)
NODES = f"GPUNode.{API}"
POOLS = sorted((FOLDER / "gpupool").rglob("*.request.json"))


def body(do: str = "", padding: str = "") -> bytes:
    parent = {"metadata": {"name": "a", "uid": "u"}, "spec": {"do": do, "padding": padding}}
    return orjson.dumps({"parent": parent})


@contextmanager
def slow(seconds: float = HANG_SECONDS) -> Iterator[Workers]:
    """Workers that do what they are told, and end what takes so long."""
    workers = Workers(Settings(leader_image="leader:test"), "tests.serving.slow:handler", seconds)
    try:
        yield workers
    finally:
        workers.stop()


@pytest.fixture
def quick() -> Iterator[Workers]:
    with slow() as workers:
        ask(workers, body())  # everything is imported
        yield workers


@pytest.fixture(scope="module")
def real() -> Iterator[Workers]:
    workers = Workers(Settings(), seconds=HANG_SECONDS)
    yield workers
    workers.stop()


def ask(workers: Workers, content: bytes) -> Answer:
    return asyncio.run(workers.answer(SYNC, content))


def status(found: Answer) -> Any:
    return orjson.loads(found.body)["status"]


@pytest.mark.parametrize("path", POOLS, ids=lambda it: f"{it.parent.name}/{it.stem}")
def test_a_pool_is_answered_as_it_is_inline(path: Path, real: Workers) -> None:
    request = path.read_bytes()
    assert ask(real, request) == answer(SYNC, request, Settings())


def test_a_call_has_the_services_settings_and_clock_and_the_whole_body(quick: Workers) -> None:
    content = body(padding="x" * (1 << 20))
    found = ask(quick, content)
    said = status(found)
    assert (found.code, found.phase) == (200, "Ready")
    assert (said["image"], said["now"], said["size"]) == ("leader:test", NOW.isoformat(), len(content))


def test_each_call_is_computed_by_a_process_of_its_own(quick: Workers) -> None:
    pids = {status(ask(quick, body()))["pid"] for _ in range(3)}
    assert len(pids) == 3
    assert pids.isdisjoint({os.getpid(), quick.pid})


@pytest.mark.parametrize("do", ["sleep", "spin"])
def test_work_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, do: str) -> None:
    monkeypatch.setattr("app.serving.workers.GRACE_SECONDS", HANG_SECONDS)  # it ends itself, however slow the imports
    with slow(seconds=2.0) as workers:
        with pytest.raises(OverrunError, match="took longer than 2 s"):
            ask(workers, body(do))
        wait_until(lambda: not children(workers.pid))
        assert status(ask(workers, body()))["size"]


@pytest.mark.parametrize("do", ["hog", "die"])
def test_work_that_takes_too_much_memory_or_crashes_ends_itself_alone(quick: Workers, do: str) -> None:
    with pytest.raises(OverrunError, match="ran out of memory"):
        ask(quick, body(do))
    assert status(ask(quick, body()))["size"]


def test_a_slow_pool_leaves_room_for_another(quick: Workers) -> None:
    async def both() -> Answer:
        slow = asyncio.create_task(quick.answer(SYNC, body("sleep")))
        while not children(quick.pid):
            await asyncio.sleep(0.02)
        found = await quick.answer(SYNC, body())
        assert not slow.done()
        quick.stop()
        with pytest.raises(OverrunError):
            await slow
        return found

    assert status(asyncio.run(both()))["size"]


def test_a_call_waits_for_a_worker_and_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.workers.PATIENCE_SECONDS", 0.1)

    async def crowd(workers: Workers) -> list[BaseException | Answer]:
        calls = [asyncio.create_task(workers.answer(SYNC, body("sleep"))) for _ in range(SLOTS + 1)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        workers.stop()
        return await asyncio.gather(*calls, return_exceptions=True)

    with slow() as workers:
        ends = asyncio.run(crowd(workers))
    assert [type(it).__name__ for it in ends] == [*["OverrunError"] * SLOTS, "NoWorkerError"]


def test_a_worker_that_died_is_replaced() -> None:
    workers = Workers(Settings(), "tests.serving.slow:handler", seconds=60)
    ask(workers, body())
    before = workers.pid
    assert before
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not _lives(before))
    assert status(ask(workers, body()))["size"]
    assert workers.pid != before
    workers.stop()


def test_stopping_ends_the_worker_and_what_it_computes() -> None:
    workers = Workers(Settings(), "tests.serving.slow:handler", seconds=60)
    workers.start()
    pid = workers.pid
    assert pid

    async def stop_halfway() -> None:
        call = asyncio.create_task(workers.answer(SYNC, body("sleep")))
        while not (computing := children(pid)):
            await asyncio.sleep(0.02)
        workers.stop()
        wait_until(lambda: not any(_lives(it) for it in [pid, *computing]))
        with pytest.raises(OverrunError):
            await call

    asyncio.run(stop_halfway())


def test_a_service_that_is_forgotten_ends_its_worker() -> None:
    workers = Workers(Settings(), "tests.serving.slow:handler", HANG_SECONDS)
    ask(workers, body())
    pid = workers.pid
    assert pid
    del workers
    gc.collect()
    wait_until(lambda: not _lives(pid))


def test_a_pool_of_20000_tiny_services_is_decided_within_its_memory() -> None:
    request = build_request(20000)
    related = request["related"]
    related[NODES] = dict(list(related[NODES].items())[:10])
    content = orjson.dumps(request)
    assert memory_for(len(content)) < 384 << 20
    workers = Workers(Settings(), seconds=120)
    try:
        found = ask(workers, content)
    finally:
        workers.stop()
    assert found.code == 200
    children = [it for it in orjson.loads(found.body)["children"] if LINE_LABEL not in it["metadata"]["labels"]]
    assert sum(not it["spec"].get("gpus") for it in children) == MOST_ANSWERS
    assert any(it["spec"].get("gpus") for it in children)


def test_a_body_that_grows_when_it_is_read_ends_its_process_alone(real: Workers) -> None:
    """Empty lists take thirty times the memory of their text."""
    with pytest.raises(OverrunError, match="ran out of memory"):
        ask(real, b"[" + b"[]," * (8 << 20) + b"[]]")
    assert ask(real, POOLS[0].read_bytes()).code == 200


def test_no_worker_outlives_a_service_that_is_killed() -> None:
    code = (
        "import asyncio, sys; from app.serving.workers import Workers; from app.settings import Settings\n"
        "from tests.serving.test_workers import SYNC, body\n"
        "workers = Workers(Settings(), 'tests.serving.slow:handler', seconds=60); workers.start()\n"
        "print(workers.pid, flush=True)\n"
        "asyncio.run(workers.answer(SYNC, body('spin')))"
    )
    service = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with service:
        assert service.stdout
        worker = int(service.stdout.readline())
        wait_until(lambda: children(worker))
        ends = [worker, *children(worker)]
        service.kill()
    wait_until(lambda: not any(_lives(it) for it in ends))


def _lives(pid: int) -> bool:
    """A process that ended and that nobody has waited for yet does not live."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
