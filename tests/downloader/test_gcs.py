"""Google Cloud Storage, by the real library against fake-gcs-server."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import RefreshError, TransportError
from google.cloud import storage
from google.cloud.storage import Blob

from app.downloader.errors import DownloadError
from app.downloader.sources.gcs import GCSSource
from tests.downloader.conftest import download, files_of
from tests.downloader.models import model
from tests.downloader.server import Server, Trouble
from tests.downloader.stores import gcs

BUCKET, FOLDER = "models", "tiny-1234"
LARGE = model(2_000_000)


def _credentials() -> Any:
    return AnonymousCredentials()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with gcs(tmp_path_factory.mktemp("gcs")) as server:
        client: Any = storage.Client(
            project="x", credentials=_credentials(), client_options={"api_endpoint": server.url}
        )
        client._bucket_metadata_cache = None  # it starts threads, which go on asking when the server is gone
        bucket = client.create_bucket(BUCKET)
        for name, content in {**LARGE, "sub/more.txt": b"more"}.items():
            bucket.blob(f"tiny/{name}").upload_from_string(content)
        bucket.blob("tiny-other/not.txt").upload_from_string(b"not")
        yield server


@pytest.fixture(autouse=True)
def emulator(store: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.url)
    store.sent.clear()
    store.asked.clear()
    yield
    store.troubles.clear()
    gc.collect()  # A connection that was left open warns here, which fails the test that left it.


def refused(volume: Path, asked: dict[str, Any], **changes: Any) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        download(volume, "gcs", asked, **{"retry_seconds": 0.1, **changes})
    assert not (volume / FOLDER).exists()
    return caught.value


@pytest.mark.parametrize("prefix", ["tiny/", "tiny"])
def test_a_folder_of_a_bucket_arrives_whole_and_verified(volume: Path, prefix: str) -> None:
    report = download(volume, "gcs", {"bucket": BUCKET, "prefix": prefix})
    assert files_of(volume / FOLDER) == {**LARGE, "sub/more.txt": b"more"}
    assert (report.verified_files, report.files_done) == (4, 4)


def test_nothing_but_the_folder_and_its_files_is_asked_for(
    store: Server, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would ask for the bucket as well, again and again, in a thread that outlives the download."""
    started: list[threading.Thread] = []
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        started.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    download(volume, "gcs", {"bucket": BUCKET, "prefix": "tiny/"})
    assert not [it for it in started if "Background" in it.name or "_background" in it.name]
    assert not [it for it in store.asked if it.path.partition("?")[0].endswith(f"/b/{BUCKET}")]


def test_an_object_with_a_weak_checksum_is_known_by_its_generation(
    store: Server, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Composed objects have no MD5."""
    monkeypatch.setattr(Blob, "md5_hash", None)
    download(volume, "gcs", {"bucket": BUCKET, "prefix": "tiny/"})
    (volume / FOLDER / "config.json").unlink()
    store.sent.clear()
    report = download(volume, "gcs", {"bucket": BUCKET, "prefix": "tiny/"})
    assert files_of(volume / report.path) == {**LARGE, "sub/more.txt": b"more"}
    assert store.sent_of("model.safetensors") == 0


def test_without_a_prefix_the_whole_bucket_comes(volume: Path) -> None:
    download(volume, "gcs", {"bucket": BUCKET})
    assert "tiny-other/not.txt" in files_of(volume / FOLDER)


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_cut_connection_goes_on_where_it_broke(store: Server, volume: Path, tenths: int) -> None:
    size = len(LARGE["model.safetensors"])
    store.troubles = [Trouble("model.safetensors", cut_at=size * tenths // 10)]
    download(volume, "gcs", {"bucket": BUCKET, "prefix": "tiny/"})
    assert files_of(volume / FOLDER)["model.safetensors"] == LARGE["model.safetensors"]
    assert store.sent_of("model.safetensors") <= size + (64 << 10)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"bucket": "nowhere"}, "BucketNotFound"),
        ({"bucket": BUCKET, "prefix": "nothing/"}, "NothingToDownload"),
    ],
)
def test_what_only_a_person_can_mend_is_said_at_once(volume: Path, source: dict[str, str], reason: str) -> None:
    failure = refused(volume, source)
    assert (failure.error.reason, failure.exit_code) == (reason, 42)


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (401, "Unauthorized", 42),
        (403, "Forbidden", 42),
        (429, "RateLimited", 1),
        (500, "SourceUnavailable", 1),
        (503, "SourceUnavailable", 1),
    ],
)
@pytest.mark.parametrize("where", ["/o?", "model.safetensors"])
def test_each_status_has_its_class(
    store: Server, volume: Path, status: int, reason: str, code: int, where: str
) -> None:
    store.troubles = [Trouble(where, times=99, status=status)]
    failure = refused(volume, {"bucket": BUCKET, "prefix": "tiny/"})
    assert (failure.error.reason, failure.exit_code) == (reason, code)


def test_an_object_that_was_written_anew_while_it_was_read_is_read_anew(store: Server, volume: Path) -> None:
    """The generation that was listed is gone, the name is not."""
    store.troubles = [Trouble("model.safetensors", status=404)]
    download(volume, "gcs", {"bucket": BUCKET, "prefix": "tiny/"})
    assert files_of(volume / FOLDER) == {**LARGE, "sub/more.txt": b"more"}


def _no_way(*said: Any) -> Exception:
    return TransportError(*said)  # type: ignore[no-untyped-call]


def _refreshing(cause: Exception | None, **options: Any) -> Exception:
    error = RefreshError("no token", **options)  # type: ignore[no-untyped-call]
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        pytest.param(_refreshing(_no_way("503")), "Unreachable", 1, id="the metadata server fails"),
        pytest.param(_refreshing(None, retryable=True), "Unreachable", 1, id="the token service says: try again"),
        pytest.param(_no_way("no route"), "Unreachable", 1, id="no way to it"),
        pytest.param(_refreshing(None), "Unauthorized", 42, id="the key is refused"),
        pytest.param(
            _refreshing(_no_way("no account", SimpleNamespace(status=404))), "Unauthorized", 42, id="no account"
        ),
    ],
)
def test_a_token_that_cannot_be_had_now_may_be_had_in_a_minute(error: Exception, reason: str, code: int) -> None:
    failure = GCSSource({"bucket": BUCKET})._as_download_error(error, "gs://models/")
    assert (failure.error.reason, failure.exit_code) == (reason, code)


def test_a_wrong_byte_is_found_and_the_file_fetched_once_more(store: Server, volume: Path) -> None:
    store.troubles = [Trouble("model.safetensors", corrupt_at=70_000)]
    download(volume, "gcs", {"bucket": BUCKET, "prefix": "tiny/"})
    assert files_of(volume / FOLDER)["model.safetensors"] == LARGE["model.safetensors"]


def test_a_key_file_that_is_none_is_named(volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    failure = refused(volume, {"bucket": BUCKET})
    assert (failure.error.reason, failure.error.error_class) == ("Unauthorized", "Configuration")
