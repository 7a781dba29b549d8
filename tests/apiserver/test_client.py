"""Both clients against a server on loopback: what is sent, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.apiserver import METADATA_LIST
from app.apiserver.access import Access, AccessError, in_pod, of_account
from app.apiserver.client import OPEN, UNREACHABLE, ApiError, AsyncClient, Client
from app.apiserver.kubeconfig import read_kubeconfig
from tests.downloader.server import Answer, Asked, Server
from tools.sandbox.process import free_port

HANG_SECONDS = 60.0
STATUS = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "pods is forbidden"}


class Script:
    """Answers in order, the last one again and again."""

    def __init__(self) -> None:
        self.answers = [Answer(200, b"{}")]
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script) -> Iterator[Server]:
    with Server(script).running() as server:
        yield server


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("team")
    return tmp_path


def of(status: int, body: object, **headers: str) -> Answer:
    return Answer(status, json.dumps(body).encode(), headers)


Get = Callable[[Access, str], Any]


def waited(access: Access, path: str) -> Any:
    with Client(access, "test", 5.0) as client:
        return client.get(path)


def awaited(access: Access, path: str) -> Any:
    async def work() -> Any:
        client = AsyncClient(access, "test")
        try:
            return await client.get(path, seconds=5.0)
        finally:
            await client.close()

    return asyncio.run(asyncio.wait_for(work(), HANG_SECONDS))


both = pytest.mark.parametrize("get", [waited, awaited])


@both
def test_a_token_is_read_for_each_request(get: Get, server: Server, script: Script, account: Path) -> None:
    access = of_account(server.url, account)
    get(access, "/one")
    (account / "token").write_text("second")
    get(access, "/two")
    assert [(it.path, it.headers["authorization"]) for it in map(_lower, script.asked)] == [
        ("/one", "Bearer first"),
        ("/two", "Bearer second"),
    ]
    assert {it.headers["user-agent"] for it in map(_lower, script.asked)} == {"test"}


def _lower(asked: Asked) -> Asked:
    return Asked(asked.method, asked.path, {key.lower(): value for key, value in asked.headers.items()}, asked.body)


@both
def test_a_refusal_has_the_apis_own_words(get: Get, server: Server, script: Script, account: Path) -> None:
    script.answers = [of(403, STATUS)]
    with pytest.raises(ApiError) as refused:
        get(of_account(server.url, account), "/api/v1/pods")
    assert (refused.value.code, refused.value.reason, refused.value.message) == (403, "Forbidden", "pods is forbidden")


@both
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"\xff"])
def test_a_refusal_of_somebody_else_keeps_its_code(
    get: Get, server: Server, script: Script, account: Path, body: bytes
) -> None:
    script.answers = [Answer(502, body)]
    with pytest.raises(ApiError) as refused:
        get(of_account(server.url, account), "/")
    assert refused.value.code == 502


@both
def test_an_answer_that_is_not_json_is_no_answer(get: Get, server: Server, script: Script, account: Path) -> None:
    script.answers = [Answer(200, b"<html>")]
    with pytest.raises(ApiError) as refused:
        get(of_account(server.url, account), "/")
    assert refused.value.code == UNREACHABLE


@both
def test_a_server_that_is_not_there_is_told_by_the_systems_words(get: Get, account: Path) -> None:
    with pytest.raises(ApiError, match=r"ConnectError: .*111") as refused:
        get(of_account(f"http://127.0.0.1:{free_port()}", account), "/")
    assert refused.value.code == UNREACHABLE


@both
@pytest.mark.parametrize("code", [429, 503])
def test_reads_are_sent_again_when_the_server_says(
    get: Get, server: Server, script: Script, account: Path, code: int
) -> None:
    later = {"Retry-After": "1"}
    script.answers = [of(code, STATUS, **later), of(200, {"a": 1})]
    begun = time.monotonic()
    assert get(of_account(server.url, account), "/") == {"a": 1}
    assert time.monotonic() - begun >= 1
    assert len(script.asked) == 2


@both
@pytest.mark.parametrize("headers", [{"Retry-After": "60"}, {"Retry-After": "soon"}, {}])
def test_nobody_waits_for_longer_than_there_is_time(
    get: Get, server: Server, script: Script, account: Path, headers: dict[str, str]
) -> None:
    script.answers = [of(429, STATUS, **headers)]
    with pytest.raises(ApiError):
        get(of_account(server.url, account), "/")
    assert len(script.asked) == 1


def test_writes_are_never_sent_again(server: Server, script: Script, account: Path) -> None:
    script.answers = [of(429, STATUS, **{"Retry-After": "0"})]
    access = of_account(server.url, account)
    with Client(access, "test") as client, pytest.raises(ApiError):
        client.patch("/x", {"a": 1})

    async def work() -> None:
        other = AsyncClient(access, "test")
        try:
            await other.create("/x", {"a": 1})
        finally:
            await other.close()

    with pytest.raises(ApiError):
        asyncio.run(asyncio.wait_for(work(), HANG_SECONDS))
    assert [(it.method, it.body) for it in script.asked] == [("PATCH", b'{"a":1}'), ("POST", b'{"a":1}')]
    types = [it.headers["content-type"] for it in map(_lower, script.asked)]
    assert types == ["application/merge-patch+json", "application/json"]


def test_a_list_comes_in_pages(server: Server, script: Script, account: Path) -> None:
    script.answers = [of(200, {"items": [1], "metadata": {"continue": "a&b"}}), of(200, {"items": [2], "metadata": {}})]
    with Client(of_account(server.url, account), "test") as client:
        pages = list(client.pages("/api/v1/pods", 7, METADATA_LIST))
    assert [it["items"] for it in pages] == [[1], [2]]
    assert [it.path for it in script.asked] == ["/api/v1/pods?limit=7", "/api/v1/pods?limit=7&continue=a%26b"]
    assert {it.headers["accept"] for it in map(_lower, script.asked)} == {METADATA_LIST}


def watched(access: Access) -> list[Any]:
    found: list[Any] = []

    async def work() -> None:
        client = AsyncClient(access, "test")
        try:
            async for event in client.watch("/w", {"watch": "true"}, "application/json"):
                found.append(event["type"] if event["type"] == OPEN else event["object"])
        except ApiError as error:
            found.append(error.code)
        finally:
            await client.close()

    asyncio.run(asyncio.wait_for(work(), HANG_SECONDS))
    return found


def test_a_watch_brings_events_of_any_length_until_the_server_ends_it(
    server: Server, script: Script, account: Path
) -> None:
    events: list[object] = ["a", "long" * 100_000, {"b": "\n"}, "c"]
    text = "".join(json.dumps({"type": "ADDED", "object": it}) + "\n" for it in events)
    script.answers = [Answer(200, f'{text}{{"type": "ADDED", "obj'.encode())]
    assert watched(of_account(server.url, account)) == [OPEN, *events]


def test_a_watch_that_the_server_refuses_or_breaks_off_has_its_code(
    server: Server, script: Script, account: Path
) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    script.answers = [of(410, gone["object"]), Answer(200, json.dumps(gone).encode() + b"\n"), Answer(200, b"no\n")]
    access = of_account(server.url, account)
    assert watched(access) == [410]
    assert watched(access) == [OPEN, 410]
    assert watched(access) == [OPEN, UNREACHABLE]


def test_a_pod_finds_its_server_and_says_what_is_missing(account: Path, tmp_path: Path) -> None:
    place = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert in_pod(place, account).server == "https://10.0.0.1:443"
    six = in_pod({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}, account)
    assert (six.server, six.namespace, six.uses_environment) == ("https://[fd00::1]:6443", "team", False)
    with pytest.raises(AccessError, match="KUBERNETES_SERVICE_HOST is not set"):
        in_pod({}, account)
    with pytest.raises(AccessError, match="token: No such file"):
        in_pod(place, tmp_path / "nowhere")
    (account / "token").write_text(" \n")
    with pytest.raises(AccessError, match="is empty"):
        in_pod(place, account)


def test_a_kubeconfig_gives_the_access_of_a_context(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        json.dumps(
            {
                "current-context": "a",
                "clusters": [
                    {"name": "c", "cluster": {"server": "https://one:6443/", "proxy-url": "http://proxy:3128"}},
                    {"name": "d", "cluster": {"server": "https://two", "insecure-skip-tls-verify": True}},
                ],
                "users": [{"name": "u", "user": {"token": "t"}}, {"name": "v", "user": {"tokenFile": "token"}}],
                "contexts": [
                    {"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
                    {"name": "b", "context": {"cluster": "d", "user": "v"}},
                ],
            }
        )
    )
    (tmp_path / "token").write_text("of a file")
    first, second = read_kubeconfig(str(path)), read_kubeconfig(str(path), "b")
    assert (first.server, first.namespace, first.authorize()) == ("https://one:6443", "team", "Bearer t")
    assert first.proxy == "http://proxy:3128"
    assert first.trust.verify_mode is ssl.CERT_REQUIRED
    assert (second.server, second.namespace, second.authorize()) == ("https://two", "", "Bearer of a file")
    assert second.trust.verify_mode is ssl.CERT_NONE
    with pytest.raises(AccessError):
        read_kubeconfig(str(path), "elsewhere")
