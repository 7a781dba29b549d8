"""Failures of TLS are told as such, whichever library meets them."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.downloader.errors import DownloadError
from tests.downloader.conftest import REPOSITORY, download
from tests.downloader.server import Files, Server

KEY = rsa.generate_private_key(65537, 2048)
NOW = datetime.now(UTC)


def certify(folder: Path, address: str, end: datetime) -> Path:
    """A server's key and its certificate, which vouches for itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    ).sign(KEY, hashes.SHA256())
    key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(key + made.public_bytes(serialization.Encoding.PEM))
    return path


SOURCES = {
    "http": {"url": "{}/a.bin"},
    "s3": {"bucket": "models", "key": "m/", "endpoint": "{}"},
    "huggingface": {"repository": REPOSITORY},
    "gcs": {"bucket": "models"},
}


@pytest.fixture(autouse=True)
def _sockets_of_refused_handshakes() -> Iterator[None]:
    """HTTP libraries leave the socket of a handshake that failed to the garbage collector: it goes here, for elsewhere
    its warning would fail another test. A download process ends with its first such failure."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(params=SOURCES)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    return str(request.param)


def refused(volume: Path, kind: str, url: str, monkeypatch: pytest.MonkeyPatch) -> DownloadError:
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    source: dict[str, Any] = {name: value.format(url) for name, value in SOURCES[kind].items()}
    with pytest.raises(DownloadError) as caught:
        download(volume, kind, source, retry_seconds=0.1)
    return caught.value


@pytest.mark.parametrize(
    ("address", "days", "trust", "said"),
    [
        ("127.0.0.1", 2, False, "signed by an unknown authority"),
        ("127.0.0.1", -1, True, "has expired"),
        ("192.0.2.1", 2, True, "is for another name"),
    ],
    ids=["private authority", "expired", "another name"],
)
def test_a_certificate_that_is_not_trusted(
    kind: str,
    address: str,
    days: int,
    trust: bool,
    said: str,
    volume: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = certify(tmp_path, address, NOW + timedelta(days=days))
    if trust:
        for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, str(pair))
    with Server(Files({}), tls=pair).running() as server:
        failure = refused(volume, kind, server.url, monkeypatch)
    assert (failure.error.reason, failure.exit_code) == ("CertificateRefused", 42), failure
    assert said in failure.error.message


def test_a_server_that_speaks_no_tls(kind: str, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(Files({})).running() as server:
        failure = refused(volume, kind, server.url.replace("http:", "https:"), monkeypatch)
    assert (failure.error.reason, failure.exit_code) == ("TLSFailed", 1), failure
    assert "wrong version number" in failure.error.message
