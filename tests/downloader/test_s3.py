"""S3, by the real library against moto's server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    MetadataRetrievalError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)

from app.downloader.errors import DownloadError
from app.downloader.partial_file import CHUNK
from app.downloader.sources.s3 import S3Source, find_checksum
from tests.downloader.conftest import download, files_of
from tests.downloader.models import model
from tests.downloader.server import Server, Trouble
from tests.downloader.stores import s3

BUCKET, FOLDER = "models", "tiny-1234"
LARGE = model(2_000_000)


def _client(server: Server) -> Any:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", **keys)


def _fill(client: Any) -> None:
    client.create_bucket(Bucket=BUCKET, ACL="public-read")
    objects = {f"tiny/{name}": content for name, content in LARGE.items()}
    more = {"tiny/": b"", "tiny/sub/more.txt": b"more", "tiny-other/not.txt": b"not", "evil/../../evil": b"evil"}
    for key, content in {**objects, **more}.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read")
    _put_in_parts(client, "parts/w.bin", b"x" * (5 << 20), 2)
    client.close()


def _put_in_parts(client: Any, key: str, content: bytes, count: int) -> None:
    where = {"Bucket": BUCKET, "Key": key}
    upload = client.create_multipart_upload(**where)["UploadId"]
    answers = [
        client.upload_part(**where, UploadId=upload, PartNumber=number, Body=content) for number in range(1, count + 1)
    ]
    parts = [{"PartNumber": number, "ETag": answer["ETag"]} for number, answer in enumerate(answers, start=1)]
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    with s3() as server:
        _fill(_client(server))
        yield server


@pytest.fixture(autouse=True)
def credentials(store: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    store.sent.clear()
    store.asked.clear()
    yield
    store.troubles.clear()


def source(store: Server, key: str = "tiny/", **changes: Any) -> dict[str, Any]:
    return {"bucket": BUCKET, "key": key, "endpoint": store.url, "region": "us-east-1", **changes}


def refused(volume: Path, asked: dict[str, Any], **changes: Any) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        download(volume, "s3", asked, **{"retry_seconds": 0.1, **changes})
    assert not (volume / FOLDER).exists()
    assert "verysecret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("key", ["tiny/", "tiny", "/tiny/"])
def test_a_folder_of_a_bucket_arrives_whole_and_verified(store: Server, volume: Path, key: str) -> None:
    report = download(volume, "s3", source(store, key))
    assert files_of(volume / FOLDER) == {**LARGE, "sub/more.txt": b"more"}
    assert (report.verified_files, report.files_done) == (4, 4)


def test_one_key_is_one_file(store: Server, volume: Path) -> None:
    download(volume, "s3", source(store, "tiny/config.json"))
    assert list(files_of(volume / FOLDER)) == ["config.json"]


def test_without_credentials_the_bucket_is_read_anonymously(
    store: Server, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    download(volume, "s3", source(store))
    assert all("Authorization" not in it.headers for it in store.asked)


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_cut_connection_goes_on_where_it_broke(store: Server, volume: Path, tenths: int) -> None:
    size = len(LARGE["model.safetensors"])
    store.troubles = [Trouble("model.safetensors", cut_at=size * tenths // 10)]
    download(volume, "s3", source(store))
    assert files_of(volume / FOLDER)["model.safetensors"] == LARGE["model.safetensors"]
    assert store.sent_of("model.safetensors") <= size + CHUNK


def test_an_upload_in_parts_is_not_fetched_again_when_another_object_changes(store: Server, volume: Path) -> None:
    client = _client(store)
    for number in (1, 2):
        client.put_object(Bucket=BUCKET, Key="parts/config.json", Body=b"{}" * number, ACL="public-read")
        store.sent.clear()
        report = download(volume, "s3", source(store, "parts/"), policy="Always")
    client.delete_object(Bucket=BUCKET, Key="parts/config.json")
    client.close()
    assert files_of(volume / report.path) == {"w.bin": b"x" * (10 << 20), "config.json": b"{}{}"}
    assert store.sent_of("w.bin") == 0


def test_an_upload_in_parts_has_no_md5_but_its_size_is_verified(store: Server, volume: Path) -> None:
    download(volume, "s3", source(store, "parts/"))
    assert files_of(volume / FOLDER) == {"w.bin": b"x" * (10 << 20)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bucket": "nowhere"}, "BucketNotFound"),
        ({"key": "nothing/"}, "NothingToDownload"),
        ({"key": "evil/"}, "UnsafeName"),
    ],
)
def test_what_only_a_person_can_mend_is_said_at_once(
    store: Server, volume: Path, changes: dict[str, str], reason: str
) -> None:
    failure = refused(volume, source(store, **changes))
    assert (failure.error.reason, failure.exit_code) == (reason, 42)


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(403, "Forbidden", 42), (429, "RateLimited", 1), (500, "SourceUnavailable", 1), (503, "SourceUnavailable", 1)],
)
def test_each_status_has_its_class(store: Server, volume: Path, status: int, reason: str, code: int) -> None:
    store.troubles = [Trouble("model.safetensors", times=99, status=status)]
    failure = refused(volume, source(store))
    assert (failure.error.reason, failure.exit_code) == (reason, code)


def test_a_wrong_byte_is_found_and_the_file_fetched_once_more(store: Server, volume: Path) -> None:
    store.troubles = [Trouble("model.safetensors", corrupt_at=70_000)]
    download(volume, "s3", source(store))
    assert files_of(volume / FOLDER)["model.safetensors"] == LARGE["model.safetensors"]


def _error_of(error: Exception) -> tuple[str, str, int]:
    found = S3Source({"bucket": BUCKET, "key": "tiny/"})._as_download_error(error, "s3://models/tiny/")
    return found.error.reason, found.error.error_class, found.exit_code


@pytest.mark.parametrize(
    "error",
    [
        SSLError(endpoint_url="https://s3.example", error="[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred"),
        ProxyConnectionError(proxy_url="http://proxy.example:3128"),
        EndpointConnectionError(endpoint_url="https://s3.example"),
        HTTPClientError(error=OSError("x")),
        CredentialRetrievalError(provider="container-role", error_msg="timed out"),
        MetadataRetrievalError(error_msg="503"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_fails_on_the_way_may_pass(error: Exception) -> None:
    assert _error_of(error) == ("Unreachable", "External", 1)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SSLError(endpoint_url="https://s3.example", error="[SSL: CERTIFICATE_VERIFY_FAILED] x"), "CertificateRefused"),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "BadSource"),
    ],
)
def test_what_a_person_must_mend_does_not(error: Exception, reason: str) -> None:
    assert _error_of(error) == (reason, "Configuration", 42)


def test_a_proxy_that_is_down_may_be_up_in_a_minute(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    failure = refused(volume, {"bucket": BUCKET, "key": "tiny/", "region": "us-east-1"})
    assert (failure.error.reason, failure.exit_code) == ("Unreachable", 1)


def test_a_connection_that_is_cut_in_the_handshake_may_pass(volume: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

        def cut() -> None:
            with suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.recv(2000)

        threading.Thread(target=cut, daemon=True).start()
        failure = refused(volume, {"bucket": BUCKET, "key": "tiny/", "endpoint": f"https://127.0.0.1:{port}"})
    assert (failure.error.reason, failure.exit_code) == ("Unreachable", 1)


def test_credentials_that_cannot_be_fetched_now_may_be_there_in_a_minute(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod's own identity, of an agent that does not answer."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/role")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    failure = refused(volume, {"bucket": BUCKET, "key": "tiny/", "region": "us-east-1"})
    assert (failure.error.reason, failure.exit_code) == ("Unreachable", 1)


@pytest.mark.parametrize(
    ("head", "algorithm"),
    [
        ({"ETag": '"0123456789abcdef0123456789abcdef"'}, "md5"),
        ({"ETag": '"0123456789abcdef0123456789abcdef"', "ServerSideEncryption": "AES256"}, "md5"),
        ({"ETag": '"0123456789abcdef0123456789abcdef"', "ServerSideEncryption": "aws:kms"}, None),
        ({"ETag": '"0123456789abcdef0123456789abcdef-2"'}, None),
        ({"ETag": '"0123456789abcdef0123456789abcdef-2"', "ChecksumSHA256": "abcd-2"}, None),
        ({"ETag": '"0123456789abcdef0123456789abcdef-2"', "ChecksumCRC32C": "AAAAAA=="}, "crc32c"),
    ],
)
def test_an_etag_counts_as_md5_only_where_it_is_one(head: dict[str, str], algorithm: str | None) -> None:
    found = find_checksum(head)
    assert (found.algorithm if found else None) == algorithm
