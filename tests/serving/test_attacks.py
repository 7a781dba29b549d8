"""Hostile and unlucky clients of a real server: what each costs is bounded, and everybody else is answered."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx2
import orjson
import pytest
from fastapi import FastAPI, Response

from app.serving import lane as lanes
from app.serving import protocol
from app.serving.answer import Call, answer
from app.serving.edge import Edge
from app.serving.http import build_app
from app.serving.lane import MEBI, Lane
from app.serving.workers import Workers
from app.settings import Settings
from tests.golden.replay import FOLDER, load
from tests.serving.running import HANG_SECONDS, Running, children, is_closed, read_to_end, serving, wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = load(FOLDER / "inferenceservice" / "basic-test" / "01-created.request.json")


def post(path: str, *headers: str) -> bytes:
    """The header of a request, without the empty line at its end."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: hooks", *headers, ""]).encode()


SHORT, NEVER = 0.4, 3600.0
"""Seconds: of the one time-out that a test is about, and of those that must not end its connections before."""


def slow_workers(seconds: float = NEVER) -> Workers:
    return Workers(Settings(), "tests.serving.slow:handler", seconds)


def edge(workers: Workers | None = None, **options: Any) -> Edge:
    return Edge(Settings(), workers or slow_workers(), **options)


@pytest.fixture(scope="module")
def workers() -> Workers:
    """Of the shared server, which stops them."""
    return slow_workers()


@pytest.fixture(scope="module")
def shared(workers: Workers) -> Iterator[Running]:
    with serving(build_app(Settings(), lambda: NOW, edge(workers))) as running:
        yield running


@pytest.fixture
def lane() -> Lane:
    """Of the hooks of the patient server, but those of pools."""
    return Lane(4 * MEBI, 6 * MEBI, 8, body_seconds=NEVER)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, lane: Lane) -> Iterator[Running]:
    """A server whose time-outs never come, but those that a test makes short: its client may be as slow as it is."""
    for name in ("HEADER_SECONDS", "LINGER_SECONDS", "STALL_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(protocol, name, NEVER)
    with serving(build_app(Settings(), lambda: NOW, edge(others=lane))) as running:
        yield running


def is_served(running: Running) -> bool:
    """Probes and other people's hooks are answered as ever."""
    found = [running.get("/healthz"), running.get("/readyz"), running.post("/sync/inferenceservice", json=SERVICE)]
    return [it.status_code for it in found] == [200] * 3


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/sync/inferenceservice", 4),
        ("/customize/modelcache", 4),
        ("/finalize/inferenceendpoint", 4),
        ("/sync/gpunode", 4),
        ("/customize/gpupool", 4),
        ("/sync/gpupool", 64),
        ("/finalize/gpupool", 64),
    ],
)
def test_a_body_that_is_announced_too_long_is_refused_before_it_is_read(shared: Running, path: str, most: int) -> None:
    with shared.connect() as connection:
        connection.sendall(post(path, f"Content-Length: {most * MEBI + 1}") + b"\r\n")
        answer = read_to_end(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert f"longer than {most} MiB".encode() in answer


def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_long(shared: Running) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 * MEBI:
            sent += MEBI
            yield b"x" * MEBI

    with suppress(httpx2.TransportError):  # closed while it was sending
        assert shared.post("/sync/modelcache", content=chunks()).status_code == 413
    assert sent < 16 * MEBI
    assert is_served(shared)


def test_a_body_as_long_as_allowed_is_read(shared: Running) -> None:
    content = b" " * (4 * MEBI - 2) + b"{}"
    assert shared.post("/sync/modelcache", content=content).status_code == 400


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999999999"])
def test_a_length_that_is_none_is_refused(shared: Running, length: str) -> None:
    with shared.connect() as connection:
        connection.sendall(post("/sync/modelcache", f"Content-Length: {length}") + b"\r\n")
        assert connection.recv(65536).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


half_headers = pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n\r\n", id="empty lines"),
        pytest.param(b"POST /sync/modelcache HT", id="half a line"),
        pytest.param(post("/sync/modelcache", "X: y"), id="half a header"),
    ],
)


@half_headers
def test_connections_without_a_whole_header_keep_nobody_out(patient: Running, begin: bytes) -> None:
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(patient.connect()).sendall(begin)
        wait_until(lambda: patient.connections == 100)
        assert is_served(patient)
        wait_until(lambda: patient.connections == 100)


@half_headers
def test_connections_without_a_whole_header_are_closed(
    monkeypatch: pytest.MonkeyPatch, patient: Running, begin: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", SHORT)
    with ExitStack() as held:
        connections = [held.enter_context(patient.connect()) for _ in range(100)]
        for connection in connections:
            with suppress(ConnectionError):  # closed before we came to it
                connection.sendall(begin)
        assert all(is_closed(it) for it in connections)
        wait_until(lambda: patient.connections == 0)


def test_a_half_header_after_an_answer_is_closed_too(monkeypatch: pytest.MonkeyPatch, patient: Running) -> None:
    with patient.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: hooks\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setattr(protocol, "HEADER_SECONDS", SHORT)
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert is_closed(connection)


def test_a_connection_that_idles_after_an_answer_is_closed(monkeypatch: pytest.MonkeyPatch, patient: Running) -> None:
    monkeypatch.setattr(protocol, "IDLE_SECONDS", SHORT)
    with patient.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: hooks\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert is_closed(connection)


def test_a_header_without_an_end_is_cut_off(shared: Running) -> None:
    with shared.connect() as connection:
        connection.sendall(post("/sync/modelcache") + b"X: ")
        assert _sends_until_closed(connection, b"y" * 65536) < 8 * MEBI


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(b"", b"1\r\nx\r\n" * 10000, id="chunks of one byte"),
        pytest.param(b"", b"1;" + b"e" * 65536 + b"\r\nx\r\n", id="long extensions"),
        pytest.param(b"0\r\n", b"A: b\r\n" * 10000, id="trailers"),
    ],
)
def test_chunks_that_are_mostly_frame_are_cut_off(shared: Running, begin: bytes, more: bytes) -> None:
    with shared.connect() as connection:
        connection.sendall(post("/sync/gpupool", "Transfer-Encoding: chunked") + b"\r\n" + begin)
        assert _sends_until_closed(connection, more) < 8 * MEBI
    assert is_served(shared)


def _sends_until_closed(connection: socket.socket, more: bytes) -> int:
    sent = 0
    while sent < 64 * MEBI:
        try:
            connection.sendall(more)
        except ConnectionError:
            break
        sent += len(more)
    return sent


def test_a_body_that_does_not_come_is_given_up(patient: Running, lane: Lane) -> None:
    lane.body_seconds = SHORT
    with patient.connect() as connection:
        connection.sendall(post("/sync/modelcache", "Content-Length: 100") + b"\r\n{")
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert is_closed(connection)
    assert (lane.requests, lane.held) == (0, 0)


def test_bodies_that_wait_hold_no_more_than_their_lane(patient: Running, lane: Lane) -> None:
    """Eight bodies of 2 MiB less a byte, of which a lane of 6 MiB holds three. What ends those is tested above."""
    with ExitStack() as held:
        connections = [held.enter_context(patient.connect()) for _ in range(8)]
        for connection in connections:
            connection.sendall(post("/sync/modelcache", f"Content-Length: {2 * MEBI}") + b"\r\n")
        wait_until(lambda: lane.requests == 8)
        for connection in connections:
            connection.sendall(b"x" * (2 * MEBI - 1))
        wait_until(lambda: lane.requests == 3)
        assert lane.held <= 6 * MEBI
        answered, _, _ = select.select(connections, [], [], HANG_SECONDS)
        assert [_status(it) for it in answered] == [b"429"] * 5
    wait_until(lambda: lane.held == 0)
    assert is_served(patient)


def _status(connection: socket.socket) -> bytes:
    return connection.recv(65536).partition(b" ")[2][:3]


def test_too_many_requests_are_told_when_to_come_again(patient: Running, lane: Lane) -> None:
    with ExitStack() as held:
        for _ in range(8):
            connection = held.enter_context(patient.connect())
            connection.sendall(post("/sync/modelcache", "Content-Length: 100") + b"\r\n{")
        wait_until(lambda: lane.requests == 8)
        refused = patient.post("/sync/modelcache", json={})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert patient.get("/healthz").status_code == 200
    wait_until(lambda: lane.requests == 0)
    assert patient.post("/sync/modelcache", json={}).status_code == 400


def test_the_newest_connection_takes_the_place_of_the_one_that_waits_longest(
    monkeypatch: pytest.MonkeyPatch, patient: Running
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 20)
    with ExitStack() as held:
        connections = [held.enter_context(patient.connect()) for _ in range(30)]
        assert all(is_closed(it) for it in connections[:10])
        wait_until(lambda: patient.connections == 20)
        assert is_served(patient)


def test_an_answer_that_is_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch, patient: Running) -> None:
    """Pipelined requests whose answers pile up: the server stops reading, and then lets go."""
    monkeypatch.setattr(protocol, "STALL_SECONDS", SHORT)
    request = b"GET /metrics HTTP/1.1\r\nHost: hooks\r\n\r\n"
    with patient.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with suppress(ConnectionError):
            for _ in range(20000):
                connection.sendall(request)
        wait_until(lambda: patient.connections == 0)


@pytest.mark.parametrize("later", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: hooks\r\n\r\n"])
def test_a_further_request_holds_no_answer_that_is_not_read(monkeypatch: pytest.MonkeyPatch, later: bytes) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 1.0)
    app = FastAPI()
    app.get("/")(lambda: Response(b"x" * (64 * MEBI)))  # more than the kernel's buffers and the server's take
    request = b"GET / HTTP/1.1\r\nHost: hooks\r\n\r\n"
    with serving(app) as running, running.connect() as connection:
        connection.sendall(request)
        assert connection.recv(1) == b"H"
        with suppress(ConnectionError):  # let go before we came to it
            connection.sendall(later)
        wait_until(lambda: running.connections == 0)


@pytest.mark.parametrize("sent", [b"", b"{", orjson.dumps(SERVICE)[:1000]])
def test_a_client_that_hangs_up_costs_no_traceback(
    shared: Running, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(10):
            with shared.connect() as connection:
                connection.sendall(post("/sync/inferenceservice", "Content-Length: 100000") + b"\r\n" + sent)
        wait_until(lambda: shared.connections == 0)
        assert is_served(shared)
    assert [it for it in caplog.records if it.exc_info or it.levelno >= logging.ERROR] == []


def test_an_answer_before_the_end_of_the_body_leaves_no_connection_behind(
    monkeypatch: pytest.MonkeyPatch, patient: Running
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", SHORT)
    with patient.connect() as connection:
        connection.sendall(post("/sync/pod", "Content-Length: 100000000") + b"\r\n{")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert is_closed(connection)


def test_what_the_status_says_is_no_label(shared: Running) -> None:
    for number in range(20):
        status = {"phase": f"{number}" + "A" * 1000}
        metadata = {"name": "p", "namespace": "n", "uid": "u"}
        request = {"parent": {"metadata": metadata, "spec": {"reserveAfter": "z", "service": 7}, "status": status}}
        for kind in ("gpupool", "inferenceendpoint"):
            shared.post(f"/sync/{kind}", json=request)
        shared.post(f"/sync/kind-{number}", json=request)
        httpx2.request(f"VERB{number}", f"{shared.url}/sync/modelcache", timeout=HANG_SECONDS)
    text = shared.get("/metrics").text
    assert "AAAA" not in text
    assert "kind-1" not in text
    assert "VERB" not in text
    assert 'kind="inferenceendpoint",phase="other"' in text


def pool(do: str, uid: str) -> Any:
    return {"parent": {"metadata": {"name": uid, "uid": uid}, "spec": {"do": do}}}


def test_a_slow_pool_delays_nobody(shared: Running, workers: Workers) -> None:
    async def during() -> tuple[httpx2.Response, list[int]]:
        async with httpx2.AsyncClient(base_url=shared.url, timeout=HANG_SECONDS) as client:
            slow = asyncio.create_task(client.post("/sync/gpupool", json=pool("spin", "slow")))
            await asyncio.to_thread(wait_until, lambda: children(workers.pid))
            [computing] = children(workers.pid)
            others = [
                await client.get("/healthz"),
                await client.post("/sync/inferenceservice", json=SERVICE),
                await client.post("/sync/gpupool", json=pool("", "quick")),
            ]
            assert not slow.done()
            os.kill(computing, signal.SIGKILL)
            return await slow, [it.status_code for it in others]

    ended, others = asyncio.run(during())
    assert others == [200, 200, 200]
    assert ended.status_code == 503


@pytest.fixture
def _clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who look how long an object still has to wait."""
    monkeypatch.setattr("app.serving.edge.time", SimpleNamespace(monotonic=lambda: 0.0, perf_counter=lambda: 0.0))


@pytest.mark.usefixtures("_clock_stands_still")
def test_a_pool_that_takes_too_long_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.workers.GRACE_SECONDS", NEVER)  # imports may take their time
    with serving(build_app(Settings(), lambda: NOW, edge(slow_workers(seconds=2.0)))) as running:
        for do in ("spin", ""):
            ended = running.post("/sync/gpupool", json=pool(do, "slow"))
            assert (ended.status_code, ended.headers["retry-after"]) == (503, "10")
            assert "not tried for 10 s" in ended.json()["error"]
        assert running.post("/sync/gpupool", json=pool("", "quick")).status_code == 200


def test_a_stray_answer_of_a_worker_is_counted(shared: Running) -> None:
    assert shared.post("/sync/gpupool", json=pool("stray", "stray")).status_code == 500
    text = shared.get("/metrics").text
    assert 'inference_operator_stray_answers_total{kind="gpupool",reason="namespace"} ' in text


@pytest.mark.usefixtures("_clock_stands_still")
@pytest.mark.parametrize("hook", ["sync", "customize", "finalize"])
def test_an_object_whose_hook_computes_too_long_waits_alone(monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    def endless(call: Call, body: bytes, settings: Settings) -> Any:
        while b'"evil"' in body:
            pass
        return answer(call, body, settings)

    monkeypatch.setattr("app.serving.edge.answer", endless)
    app = build_app(Settings(), lambda: NOW, edge(inline_seconds=1.0))
    evil = orjson.loads(orjson.dumps(SERVICE))
    evil["parent"]["metadata"]["uid"] = "evil"
    status = asyncio.run(_asked_in_main_thread(app, f"/{hook}/inferenceservice", [evil, evil, SERVICE]))
    assert status == [(503, "10"), (503, "10"), (200, None)]


async def _asked_in_main_thread(app: Any, path: str, bodies: list[Any]) -> list[tuple[int, str | None]]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://hooks") as client:
        answers = [await client.post(path, json=body) for body in bodies]
    return [(it.status_code, it.headers.get("retry-after")) for it in answers]


def test_the_real_bounds_stand_in_the_lanes() -> None:
    real = Edge(Settings(), Workers(Settings()))
    assert (real.pools.most_body, real.others.most_body) == (64 * MEBI, 4 * MEBI)
    assert real.pools.most_held + real.others.most_held <= 128 * MEBI
    assert lanes.BODY_SECONDS <= 10
