"""Where downloads may connect: attacks by address, spelling, redirect, DNS and proxy, and what stays possible."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
import requests

from app.apiserver.access import of_account
from app.contracts.download import DownloadReport
from app.downloader.egress import ALWAYS_REFUSED, Egress, Refused, enforced, kind_of, parse_egress, trusted
from app.downloader.errors import DownloadError
from app.downloader.report import JobPatch
from app.kube.hosts import Host, parse_host
from tests.downloader.conftest import LOOPBACK, REPOSITORY, download
from tests.downloader.hub import Hub, Repository
from tests.downloader.models import model
from tests.downloader.server import Answer, Asked, Files, Server, Trouble

Web = tuple[Files, Server]


@pytest.fixture
def victim() -> Iterator[Server]:
    """A service that only this machine may reach, with a secret."""
    with Server(Files({"/secret.bin": b"internal"})).running() as server:
        yield server


def refused(volume: Path, kind: str, source: dict[str, Any], egress: Egress = ALWAYS_REFUSED) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        download(volume, kind, source, egress=egress, retry_seconds=0.1)
    assert not (volume / "tiny-1234").exists()
    return caught.value


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "0x7f.1", "0.0.0.0", "0", "localhost"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "2852039166", "0xa9fea9fe"),
        *("[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fe80::1]", "224.0.0.1", "[ff02::1]"),
    ],
)
def test_no_spelling_of_an_inner_address_is_connected_to(volume: Path, victim: Server, host: str) -> None:
    port = victim.url.rpartition(":")[2]
    failure = refused(volume, "http", {"url": f"http://{host}:{port}/secret.bin"})
    # A library may refuse the spelling itself.
    expected = "BadSource" if host == "0177.0.0.1" else "AddressRefused"
    assert (failure.error.reason, failure.exit_code) == (expected, 42)
    assert not victim.asked


def test_a_redirect_leads_no_further_than_the_source_may(volume: Path, web: Web, victim: Server) -> None:
    inside = f"{victim.url.replace('127.0.0.1', 'localhost')}/secret.bin"
    web[1].troubles = [
        Trouble("/x.bin", 99, method, 302, {"Location": inside, "Content-Length": "0"}) for method in ("HEAD", "GET")
    ]
    port = int(web[1].url.rpartition(":")[2])
    only = Egress(allowed=(Host("127.0.0.1", port),))
    assert refused(volume, "http", {"url": f"{web[1].url}/x.bin"}, only).error.reason == "AddressRefused"
    assert not victim.asked


def test_redirects_end(volume: Path, web: Web) -> None:
    web[1].troubles = [Trouble("/x.bin", 99, "HEAD", 302, {"Location": "/x.bin"})]
    failure = refused(volume, "http", {"url": f"{web[1].url}/x.bin"}, LOOPBACK)
    assert (failure.error.reason, len(web[1].asked)) == ("BadSource", 6)


def test_a_name_that_leads_elsewhere_at_the_second_look_is_refused(
    volume: Path, victim: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: what counts is the address of the connection."""
    port, looks = int(victim.url.rpartition(":")[2]), iter(["192.0.2.1"])
    real = socket.getaddrinfo

    def lie(host: Any, *rest: Any, **named: Any) -> Any:
        return real(next(looks, "127.0.0.1") if host in ("rebind.example", b"rebind.example") else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lie)
    socket.getaddrinfo("rebind.example", port)  # the look of somebody who checks first
    assert refused(volume, "http", {"url": f"http://rebind.example:{port}/secret.bin"}).error.reason == "AddressRefused"
    assert not victim.asked


def test_an_s3_endpoint_is_held_to_it(volume: Path, victim: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    source = {"bucket": "models", "key": "tiny/", "endpoint": victim.url}
    assert refused(volume, "s3", source).error.reason == "AddressRefused"
    assert not victim.asked


def test_the_hub_may_not_send_a_download_inside(volume: Path, hub: tuple[Hub, Server], victim: Server) -> None:
    hub[0].repositories[REPOSITORY] = Repository(model(1000))
    hub[1].troubles = [Trouble("/resolve/", 99, "GET", 302, {"Location": f"{victim.url}/secret.bin"})]
    port = int(hub[1].url.rpartition(":")[2])
    failure = refused(volume, "huggingface", {"repository": REPOSITORY}, Egress(allowed=(Host("127.0.0.1", port),)))
    assert failure.error.reason == "AddressRefused"
    assert not victim.asked


def test_a_key_file_of_google_names_no_inner_address(
    volume: Path, victim: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever writes the Secret chooses where tokens are asked for."""
    key = tmp_path / "key.json"
    subject = {"file": str(tmp_path / "token")}
    (tmp_path / "token").write_text("t")
    account = {
        "type": "external_account", "audience": "//iam.googleapis.com/x", "credential_source": subject,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": f"{victim.url}/v1/token",
    }  # fmt: skip
    key.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    assert refused(volume, "gcs", {"bucket": "models"}).error.reason == "AddressRefused"
    assert not victim.asked


def test_behind_a_proxy_the_url_is_looked_at(volume: Path, victim: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", victim.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    rule = parse_egress({"HTTP_PROXY": victim.url})
    for host in ("169.254.169.254", "2852039166", "localhost"):
        assert refused(volume, "http", {"url": f"http://{host}/secret.bin"}, rule).error.reason == "AddressRefused"
    assert not victim.asked


def test_a_proxy_of_the_administrator_may_be_anywhere(volume: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", web[1].url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    web[0].contents["/a.bin"] = b"x" * 10
    download(volume, "http", {"url": "http://192.0.2.7/a.bin"}, egress=parse_egress({"HTTP_PROXY": web[1].url}))
    assert web[1].asked[0].path == "http://192.0.2.7/a.bin"


@pytest.mark.parametrize(
    "connect",
    [
        lambda url: httpx2.get(url, trust_env=False, timeout=120),
        lambda url: requests.get(url, timeout=120),
        lambda url: socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close(),
    ],
    ids=["httpx2", "requests", "socket"],
)
def test_every_thread_and_library_is_held_to_it_and_only_while_it_lasts(
    victim: Server, connect: Callable[[str], object]
) -> None:
    failures: list[BaseException] = []

    def try_it() -> None:
        try:
            connect(victim.url)
        except Exception as error:
            failures.append(error)

    with enforced(ALWAYS_REFUSED):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(failures) == 1
    try_it()
    assert len(failures) == 1


def test_ranges_of_the_cluster_are_refused_where_they_are_named_and_other_private_ones_are_not() -> None:
    rule = parse_egress({"INFERENCE_CLUSTER_CIDRS": "10.96.0.0/12, fd00:1::/64", "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    for inner in ("10.96.0.10", "10.111.1.1", "fd00:1::5", "::ffff:10.96.0.10", "10.0.0.1"):
        with pytest.raises(Refused):
            rule.require(inner, 443)
    for store in ("10.0.0.2", "192.168.1.5", "172.16.0.1", "fd00:2::1", "8.8.8.8"):
        rule.require(store, 443)


def test_allowed_hosts_are_reached_wherever_they_are() -> None:
    environment = {
        "INFERENCE_CLUSTER_CIDRS": "10.96.0.0/12",
        "INFERENCE_DOWNLOADER_ALLOWED_HOSTS": "10.96.4.7:9000,localhost",
        "HF_ENDPOINT": "http://10.96.9.9:8080/hub",
    }
    rule = parse_egress(environment)
    rule.require("10.96.4.7", 9000)
    rule.require("127.0.0.1", 1)
    rule.require("10.96.9.9", 8080)
    for address, port in (("10.96.4.7", 9001), ("10.96.9.9", 80), ("169.254.169.254", 80)):
        with pytest.raises(Refused):
            rule.require(address, port)


@pytest.mark.parametrize("text", ["http://x", "a/b", "a:b", "a b", "user@host", "", "host:99999", "::g"])
def test_a_host_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_host(text)


def test_a_wrong_range_ends_it_for_good() -> None:
    with pytest.raises(DownloadError, match="BadSettings"):
        parse_egress({"INFERENCE_CLUSTER_CIDRS": "10.96.0.1/12"})


@pytest.mark.parametrize(
    "address",
    [
        *("168.63.129.16", "100.100.100.200", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:a9fe:a9fe::1", "fd00:42::42"),
        *("2002:7f00:1::", "64:ff9b:1::7f00:1", "64:ff9b:1:2::a9fe:a9fe", "0.1.2.3"),
    ],
)
def test_metadata_of_other_clouds_and_embedded_addresses(address: str) -> None:
    with pytest.raises(Refused):
        ALWAYS_REFUSED.require(address, 80)


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.1", "52.216.0.1", "2a00:1450::1", "100.64.0.1"])
def test_object_stores_of_the_site_are_reached(address: str) -> None:
    assert not kind_of(ip_address(address))


def test_reports_reach_an_api_server_that_no_source_may_name(victim: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    victim.backend = lambda asked: Answer(200, b"{}")
    with enforced(ALWAYS_REFUSED):
        JobPatch("ai/job", of_account(victim.url, tmp_path))(DownloadReport())
    assert [it.method for it in victim.asked] == ["PATCH"]


class Metadata:
    """What AWS's metadata service answers."""

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.endswith("/api/token"):
            return Answer(200, b"token")
        if asked.path.endswith("/security-credentials/"):
            return Answer(200, b"role")
        if "/security-credentials/" in asked.path:
            keys = {"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c", "Expiration": "2099-01-01T00:00:00Z"}
            return Answer(200, json.dumps({"Code": "Success", **keys}).encode())
        return Answer(404)


def test_the_pods_own_identity_is_asked_for_where_a_source_may_not_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from app.downloader.sources.s3 import _find_credentials

    with Server(Metadata()).running() as metadata:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.url}/")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with enforced(ALWAYS_REFUSED):
            found = _find_credentials(boto3.Session())
            assert found.access_key == "a"
            asked = len(metadata.asked)
            found._refresh_using()
            assert len(metadata.asked) > asked, "also when they are renewed later"
            with pytest.raises(Refused):
                socket.create_connection(("127.0.0.1", int(metadata.url.rpartition(":")[2])))


def test_trust_ends_with_its_block(victim: Server) -> None:
    port = int(victim.url.rpartition(":")[2])
    with enforced(ALWAYS_REFUSED):
        with trusted():
            socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(Refused):
            socket.create_connection(("127.0.0.1", port))
