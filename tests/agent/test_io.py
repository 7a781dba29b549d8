"""The edge against an API server that is played: fencing, conflicts, relisting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, cast

import pytest

from app.agent.events import MOST, EventStore
from app.agent.gpu_usage import plan_nodes
from app.agent.io import lease as leases
from app.agent.io import reflector as reflectors
from app.agent.io.backoff import MOST_SECONDS, pause
from app.agent.io.lease import Lease
from app.agent.io.reflector import Reflector
from app.agent.io.resources import EVENTS, GPU_NODES, Resource
from app.agent.io.writer import AT_ONCE, Result, Writer
from app.agent.patch import Patch, Target
from app.agent.snapshot import GPUNode, Warned, parse_gpu_node
from app.agent.store import Store
from app.apiserver.client import CONFLICT, GONE, NOT_FOUND, OPEN, SILENCE_SECONDS, UNREACHABLE, ApiError, AsyncClient
from tests.agent.build import Json, gpu_node, snapshot
from tests.agent.test_events import event as warning

HANG_SECONDS = 120.0
"""Ends a test that hangs, on any machine."""


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, HANG_SECONDS))


def node_patches(count: int) -> list[Patch]:
    return plan_nodes(snapshot(gpu_nodes=[gpu_node(f"n{index:02}") for index in range(count)]))


class Server:
    """Answers patches after a moment, or when `gate` is opened; `answer` may raise."""

    def __init__(self, answer: Callable[[str], None] = lambda _: None, gate: asyncio.Event | None = None) -> None:
        self.gate = gate
        self.paths: list[str] = []
        self.under_way = 0
        self.most = 0
        self._answer = answer

    async def patch(self, path: str, body: Any, content_type: str) -> Json:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await (self.gate.wait() if self.gate else asyncio.sleep(0.01))
        self.under_way -= 1
        self._answer(path)
        self.paths.append(path)
        return gpu_node(path.split("/")[-2], body["status"])

    def writer(self, held: Callable[[], bool] = lambda: True) -> Writer:
        store = Store(parse_gpu_node)
        return Writer(cast("AsyncClient", self), held, {Target.GPU_NODE: store})


def test_the_lease_is_asked_before_every_single_write() -> None:
    server = Server()

    async def work() -> None:
        results = await server.writer(held=lambda: len(server.paths) < 3).write(node_patches(30))
        assert results.count(Result.FENCED) == 30 - len(server.paths)

    run(work())
    assert 3 <= len(server.paths) < 3 + AT_ONCE
    assert server.most <= AT_ONCE


def test_a_writer_that_closes_waits_for_what_was_sent_and_drops_the_rest() -> None:
    async def work() -> None:
        server = Server(gate=(gate := asyncio.Event()))
        writer = server.writer()
        writing = asyncio.create_task(writer.write(node_patches(30)))
        while server.under_way < AT_ONCE:
            await asyncio.sleep(0)
        writing.cancel()
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        gate.set()
        await closing
        assert server.under_way == 0
        assert len(server.paths) == AT_ONCE
        await asyncio.sleep(0.05)
        assert len(server.paths) == AT_ONCE

    run(work())


@pytest.mark.parametrize(
    ("code", "result"), [(CONFLICT, Result.CONFLICT), (500, Result.FAILED), (UNREACHABLE, Result.FAILED)]
)
def test_a_write_that_is_refused_is_a_result_and_no_exception(code: int, result: Result) -> None:
    def refuse(_: str) -> None:
        raise ApiError(code, "Refused", "")

    async def work() -> None:
        assert await Server(refuse).writer().write(node_patches(1)) == [result]

    run(work())


class Scripted:
    """Lists and watches as told, one script entry a call."""

    def __init__(self, pages: list[Json | ApiError], watches: list[list[Json | ApiError]]) -> None:
        self.pages, self.watches = pages, watches
        self.lasts: list[int] = []
        self.limits: list[str] = []
        self.versions: list[str] = []
        self.done = asyncio.Event()

    async def get(self, path: str, query: Json, accept: str) -> Json:
        self.limits.append(query["limit"])
        page = self.pages.pop(0)
        if isinstance(page, ApiError):
            raise page
        return page

    async def watch(self, path: str, query: Json, accept: str) -> AsyncGenerator[Json, None]:
        self.versions.append(query["resourceVersion"])
        self.lasts.append(int(query["timeoutSeconds"]))
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, ApiError):
                raise event
            yield event


def page(*names: str, version: str, more: str = "") -> Json:
    return {"items": [gpu_node(name) for name in names], "metadata": {"resourceVersion": version, "continue": more}}


def told(kind: str, name: str, version: int) -> Json:
    item = gpu_node(name)
    item["metadata"]["resourceVersion"] = str(version)
    return {"type": kind, "object": item}


def reflect(script: Callable[[], Scripted], monkeypatch: pytest.MonkeyPatch) -> tuple[Scripted, Reflector[GPUNode]]:
    monkeypatch.setattr(reflectors, "pause", lambda failures: 0.0)
    kept: list[Any] = []

    async def work() -> None:
        server = script()
        reflector = Reflector(cast("AsyncClient", server), GPU_NODES, Store(parse_gpu_node), lambda: None)
        task = asyncio.create_task(reflector.run())
        await server.done.wait()
        task.cancel()
        kept.extend((server, reflector))

    run(work())
    return kept[0], kept[1]


def names(reflector: Reflector[GPUNode]) -> set[str]:
    return {name for _, name in reflector.store.objects}


def test_pages_are_put_together_and_the_watch_goes_on_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "30"}}}
    server, reflector = reflect(
        lambda: Scripted(
            [page("a", version="10", more="next"), page("b", version="10")],
            [[{"type": OPEN}, told("ADDED", "c", 20), told("DELETED", "a", 21), bookmark], []],
        ),
        monkeypatch,
    )
    assert names(reflector) == {"b", "c"}
    assert server.versions == ["10", "30", "30"]


def test_a_version_that_is_gone_is_listed_anew_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ApiError(GONE, "Expired", "too old")
    server, reflector = reflect(
        lambda: Scripted(
            [ApiError(UNREACHABLE, "no answer", ""), page("a", version="10"), page("b", version="50")],
            [[{"type": OPEN}, ApiError(UNREACHABLE, "cut", "")], [{"type": OPEN}, gone]],
        ),
        monkeypatch,
    )
    assert names(reflector) == {"b"}
    assert server.versions == ["10", "10", "50"]


def test_a_reflector_is_current_only_while_its_watch_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[Json | ApiError] = [{"type": OPEN}, ApiError(UNREACHABLE, "cut", "")]
    _, reflector = reflect(lambda: Scripted([page(version="10")], [cut]), monkeypatch)
    assert not reflector.current


def test_a_watch_without_bookmarks_ends_before_its_silence_counts_as_a_failure() -> None:
    """API servers send none of events, and a quiet cluster has no events of these reasons for hours."""

    async def work(resource: Resource) -> None:
        server = Scripted([{"items": [], "metadata": {"resourceVersion": "1"}}], [])
        watching = asyncio.create_task(
            Reflector(cast("AsyncClient", server), resource, EventStore(), lambda: None).run()
        )
        await server.done.wait()
        watching.cancel()
        assert server.lasts[0] < SILENCE_SECONDS

    for resource in EVENTS:
        run(work(resource))


def test_a_list_of_events_comes_in_small_pages_and_is_bounded_while_it_comes() -> None:
    names = [f"e{number}" for number in range(MOST + 20)]
    pages = [events_page(names[:MOST], more="next"), events_page(names[MOST:])]
    held: list[int] = []

    class Counting(EventStore):
        def trim(self, facts: list[Warned]) -> list[Warned]:
            kept = super().trim(facts)
            held.append(len(kept))
            return kept

    async def work() -> Scripted:
        server = Scripted([*pages], [])
        reflector = Reflector(cast("AsyncClient", server), EVENTS[0], Counting(), lambda: None)
        task = asyncio.create_task(reflector.run())
        await asyncio.wait_for(server.done.wait(), HANG_SECONDS)
        task.cancel()
        return server

    assert asyncio.run(work()).limits == ["100", "100"]
    assert held[:2] == [MOST, MOST]


def events_page(names: list[str], more: str = "") -> Json:
    items = [warning(name=name, version=int(name[1:]) + 1) for name in names]
    return {"items": items, "metadata": {"resourceVersion": "1000", "continue": more}}


def test_pauses_grow_to_a_limit_and_differ() -> None:
    assert 0.25 <= pause(0) <= 0.5
    assert MOST_SECONDS / 2 <= pause(100) <= MOST_SECONDS
    assert len({pause(5) for _ in range(10)}) > 1


class LeaseServer:
    """One Lease, which is written only over the version that was seen."""

    def __init__(self) -> None:
        self.spec: Json = {}
        self.version = 0
        self.silent = False
        """Whether what is written is not answered."""
        self.written = asyncio.Event()

    async def get(self, path: str, seconds: float) -> Json:
        if not self.version:
            raise ApiError(NOT_FOUND, "NotFound", path)
        return {"metadata": {"resourceVersion": str(self.version)}, "spec": self.spec}

    async def create(self, path: str, body: Json) -> Json:
        return await self._take(body["spec"])

    async def patch(self, path: str, body: Json, content_type: str) -> Json:
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(CONFLICT, "Conflict", path)
        return await self._take(self.spec | body["spec"])

    async def _take(self, spec: Json) -> Json:
        self.spec, self.version = spec, self.version + 1
        if self.silent:
            self.written.set()
            await asyncio.Event().wait()
        return await self.get("", 0)


def test_a_lease_is_let_go_of_though_a_renewal_was_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has arrived, and its answer has not."""
    monkeypatch.setattr(leases, "RETRY_PERIOD", 0)
    server = LeaseServer()

    async def work() -> None:
        lease = Lease(cast("AsyncClient", server), "ns", "me")
        await lease.acquire()
        server.silent = True
        keeping = asyncio.create_task(lease.keep())
        await server.written.wait()
        server.silent = False
        keeping.cancel()
        await asyncio.wait([keeping])
        await lease.release()

    run(work())
    assert server.spec["holderIdentity"] == ""


def test_a_lease_that_another_has_taken_stays_with_it() -> None:
    server = LeaseServer()

    async def work() -> None:
        lease = Lease(cast("AsyncClient", server), "ns", "me")
        await lease.acquire()
        server.spec, server.version = server.spec | {"holderIdentity": "other"}, server.version + 1
        await lease.release()

    run(work())
    assert server.spec["holderIdentity"] == "other"
