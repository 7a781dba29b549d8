"""Plain web servers: ranges, validators, checksums, URLs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.downloader.partial_file import CHUNK
from tests.downloader.conftest import download, files_of
from tests.downloader.models import model, safetensors
from tests.downloader.server import Answer, Files, Trouble
from tests.downloader.webs import FOLDER, WEIGHTS, Web, host, refused, source


def test_several_urls_become_one_folder(web: Web, volume: Path) -> None:
    host(web, **model())
    report = download(volume, "http", source(web, *model()))
    assert files_of(volume / FOLDER) == model()
    assert (report.verified_files, report.files_done) == (0, 3)
    assert report.revision, "made of the ETags of all files"


def test_a_given_checksum_is_verified(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS})
    report = download(volume, "http", source(web, "w.safetensors", sha256=hashlib.sha256(WEIGHTS).hexdigest()))
    assert report.verified_files == 1


def test_a_wrong_checksum_is_said_and_nothing_shown(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS})
    failure = refused(volume, source(web, "w.safetensors", sha256="0" * 64))
    assert (failure.error.reason, failure.error.error_class) == ("HashMismatch", "Permanent")
    assert hashlib.sha256(WEIGHTS).hexdigest() in failure.error.message


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_cut_connection_goes_on_where_it_broke(web: Web, volume: Path, tenths: int) -> None:
    host(web, **{"w.safetensors": WEIGHTS})
    web[1].troubles = [Trouble("w.safetensors", cut_at=len(WEIGHTS) * tenths // 10)]
    download(volume, "http", source(web, "w.safetensors"))
    assert files_of(volume / FOLDER) == {"w.safetensors": WEIGHTS}
    assert web[1].sent_of("w.safetensors") <= len(WEIGHTS) + CHUNK


def test_content_that_changed_between_two_tries_is_never_mixed(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS})
    web[1].troubles = [Trouble("w.safetensors", cut_at=3_000_000), Trouble("w.safetensors", times=99, status=503)]
    refused(volume, source(web, "w.safetensors"))
    other = safetensors({"w": ("F32", [1_000_000])}, seed=7)
    host(web, **{"w.safetensors": other})
    web[1].troubles = []
    download(volume, "http", source(web, "w.safetensors"))
    assert files_of(volume / FOLDER) == {"w.safetensors": other}


def test_content_that_changes_while_it_is_read_is_read_anew(web: Web, volume: Path) -> None:
    other = safetensors({"w": ("F32", [1_000_000])}, seed=7)
    host(web, **{"w.safetensors": WEIGHTS})

    class Changing(Files):
        def __call__(self, asked: Any) -> Any:
            answer = super().__call__(asked)
            if asked.method == "GET":
                self.contents["/models/w.safetensors"] = other
            return answer

    web[1].backend = Changing(web[0].contents)
    web[1].troubles = [Trouble("w.safetensors", cut_at=1_000_000)]
    download(volume, "http", source(web, "w.safetensors"))
    assert files_of(volume / FOLDER) == {"w.safetensors": other}


def test_a_server_without_ranges_is_read_from_the_start_again(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS})

    class Whole(Files):
        def __call__(self, asked: Any) -> Any:
            asked.headers = {name: value for name, value in asked.headers.items() if name.lower() != "range"}
            return super().__call__(asked)

    web[1].backend = Whole(web[0].contents)
    web[1].troubles = [Trouble("w.safetensors", cut_at=2_000_000)]
    download(volume, "http", source(web, "w.safetensors"))
    assert files_of(volume / FOLDER) == {"w.safetensors": WEIGHTS}


@pytest.mark.parametrize(
    ("status", "reason", "error_class", "code"),
    [
        (401, "Unauthorized", "Configuration", 42),
        (403, "Forbidden", "Configuration", 42),
        (404, "NotFound", "Configuration", 42),
        (429, "RateLimited", "Transient", 1),
        (500, "SourceUnavailable", "External", 1),
        (503, "SourceUnavailable", "External", 1),
    ],
)
def test_each_status_has_its_class(
    web: Web, volume: Path, status: int, reason: str, error_class: str, code: int
) -> None:
    host(web, **{"w.safetensors": WEIGHTS})
    web[1].troubles = [Trouble("w.safetensors", times=99, status=status, headers={"Retry-After": "30"})]
    failure = refused(volume, source(web, "w.safetensors"))
    assert (failure.error.reason, failure.error.error_class, failure.exit_code) == (reason, error_class, code)


def test_a_server_that_compresses_all_the_same_is_refused(web: Web, volume: Path) -> None:
    class Compressing(Files):
        def __call__(self, asked: Any) -> Any:
            answer = super().__call__(asked)
            answer.headers = {**answer.headers, "Content-Encoding": "gzip"}
            return answer

    host(web, **{"w.safetensors": WEIGHTS})
    web[1].backend = Compressing(web[0].contents)
    assert refused(volume, source(web, "w.safetensors")).error.reason == "RequestRefused"


class Endless(Files):
    """A server that ends each file by closing the connection, and says no size beforehand."""

    def __call__(self, asked: Any) -> Any:
        answer = super().__call__(asked)
        return Answer(200, answer.body) if asked.method == "GET" else Answer(405)


@pytest.mark.parametrize("end", [len(WEIGHTS) // 2, len(WEIGHTS)], ids=["cut", "whole"])
def test_a_file_whose_end_nobody_knows_is_refused(web: Web, volume: Path, end: int) -> None:
    host(web, **{"w.gguf": WEIGHTS[:end]})
    web[1].backend, web[1].says_length = Endless(web[0].contents), False
    failure = refused(volume, source(web, "w.gguf"))
    assert (failure.error.reason, failure.exit_code) == ("RequestRefused", 42)
    assert "give sha256" in failure.error.message


def test_with_a_checksum_the_end_need_not_be_known(web: Web, volume: Path) -> None:
    host(web, **{"w.gguf": WEIGHTS})
    web[1].backend, web[1].says_length = Endless(web[0].contents), False
    checksum = hashlib.sha256(WEIGHTS).hexdigest()
    download(volume, "http", source(web, "w.gguf", sha256=checksum))
    assert files_of(volume / FOLDER) == {"w.gguf": WEIGHTS}


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_url_that_serves_get_alone_is_asked_by_get(web: Web, volume: Path, status: int) -> None:
    """As one that a store signed for a download."""
    host(web, **{"w.safetensors": WEIGHTS})
    web[1].troubles = [Trouble("w.safetensors", times=99, method="HEAD", status=status)]
    download(volume, "http", source(web, "w.safetensors"))
    assert files_of(volume / FOLDER) == {"w.safetensors": WEIGHTS}


def test_what_has_the_same_strong_etag_is_not_fetched_again(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS, "config.json": b"{}"})
    asked = source(web, "w.safetensors", "config.json")
    download(volume, "http", asked, policy="Always")
    host(web, **{"config.json": b'{"new": true}'})
    web[1].sent.clear()
    report = download(volume, "http", asked, policy="Always")
    assert files_of(volume / report.path) == {"w.safetensors": WEIGHTS, "config.json": b'{"new": true}'}
    assert web[1].sent_of("w.safetensors") == 0


def test_a_file_that_rotted_on_the_disk_is_fetched_again(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS, "config.json": b"{}"})
    asked = source(web, "w.safetensors", "config.json")
    first = download(volume, "http", asked, policy="Always")
    (volume / first.path / "w.safetensors").write_bytes(WEIGHTS[:-1] + b"?")
    host(web, **{"config.json": b'{"new": true}'})
    report = download(volume, "http", asked, policy="Always")
    assert files_of(volume / report.path)["w.safetensors"] == WEIGHTS


def test_a_weak_etag_says_too_little_to_take_a_file_by_it(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS, "config.json": b"{}"})
    web[0].etags["/models/w.safetensors"] = 'W/"1"'
    asked = source(web, "w.safetensors", "config.json")
    download(volume, "http", asked, policy="Always")
    host(web, **{"config.json": b'{"new": true}'})
    web[1].sent.clear()
    download(volume, "http", asked, policy="Always")
    assert web[1].sent_of("w.safetensors") == len(WEIGHTS)


def test_finished_files_of_which_the_server_tells_nothing_are_not_mixed_with_later_ones(web: Web, volume: Path) -> None:
    host(web, **{"a.gguf": b"A" * 1000, "b.gguf": b"B" * 1000})
    web[1].backend = Blind(web[0].contents)
    web[1].troubles = [Trouble("b.gguf", times=99, status=503)]
    refused(volume, source(web, "a.gguf", "b.gguf"))
    web[1].troubles = []
    new = {"a.gguf": b"a" * 1000, "b.gguf": b"b" * 2000}
    host(web, **new)
    download(volume, "http", source(web, "a.gguf", "b.gguf"))
    assert files_of(volume / FOLDER) == new


class Blind(Files):
    """A server that says nothing by which one content could be told from another."""

    def __call__(self, asked: Any) -> Any:
        answer = super().__call__(asked)
        kept = {name: value for name, value in answer.headers.items() if name not in ("ETag", "Last-Modified")}
        return Answer(answer.status, answer.body, kept)


def blind(web: Web, content: bytes) -> dict[str, Any]:
    host(web, **{"w.gguf": content})
    web[1].backend = Blind(web[0].contents)
    return source(web, "w.gguf")


def test_always_sees_a_change_that_the_server_does_not_tell(web: Web, volume: Path) -> None:
    first = download(volume, "http", blind(web, b"A" * 1000), policy="Always")
    second = download(volume, "http", blind(web, b"B" * 1000), policy="Always")
    third = download(volume, "http", blind(web, b"C" * 1000), policy="Always")
    assert len({first.path, second.path, third.path}) == 3
    for report, letter in ((first, b"A"), (second, b"B"), (third, b"C")):
        assert files_of(volume / report.path) == {"w.gguf": letter * 1000}


def test_what_did_not_change_is_fetched_to_compare_and_stays_where_it_is(web: Web, volume: Path) -> None:
    asked = blind(web, b"A" * 1000)
    first = download(volume, "http", asked, policy="Always")
    inode = (volume / first.path / "w.gguf").stat().st_ino
    assert download(volume, "http", asked, policy="Always") == first
    assert (volume / first.path / "w.gguf").stat().st_ino == inode
    assert web[1].sent_of("w.gguf") == 2000
    assert list((volume / ".staging").iterdir()) == []
    assert download(volume, "http", asked) == first
    assert web[1].sent_of("w.gguf") == 2000, "the other policies take what is there"


def test_a_folder_of_an_earlier_version_is_compared_by_its_files(web: Web, volume: Path) -> None:
    """Its digest is of what the server said: names and sizes."""
    asked = blind(web, b"A" * 1000)
    first = download(volume, "http", asked)
    manifest = volume / first.path / ".inference-manifest.json"
    raw = json.loads(manifest.read_text())
    earlier = {key: value for key, value in raw.items() if key not in ("cache", "origins")}
    manifest.write_text(json.dumps(earlier | {"digest": "12345678"}))
    assert download(volume, "http", asked, policy="Always").path == first.path


def test_a_pause_that_the_server_asks_for_is_made(web: Web, volume: Path) -> None:
    host(web, **{"w.safetensors": WEIGHTS})
    web[1].troubles = [Trouble("w.safetensors", status=429, headers={"Retry-After": "1"})]
    download(volume, "http", source(web, "w.safetensors"))
    assert len(web[1].requests_of("w.safetensors")) == 2


def test_a_server_that_is_not_there_is_external(volume: Path) -> None:
    failure = refused(volume, {"url": "http://127.0.0.1:9/w.safetensors"})
    assert (failure.error.reason, failure.error.error_class) == ("Unreachable", "External")


@pytest.mark.parametrize("before", ["", "it's-"])
def test_secrets_in_a_url_are_nowhere_to_be_read(web: Web, volume: Path, before: str) -> None:
    host(web, **{"w.safetensors": WEIGHTS})
    host_name = web[1].url.removeprefix("http://")
    url = f"http://user:{before}s3cr3t@{host_name}/models/w.safetensors?signature={before}s1gn3d"
    download(volume, "http", {"url": url})
    failure = refused(volume.parent, {"url": url.replace("w.safe", "missing.safe")})
    written = b"".join(path.read_bytes() for path in volume.rglob("*") if path.is_file())
    for secret in ("s3cr3t", "s1gn3d"):
        assert secret.encode() not in written
        assert secret not in str(failure)


@pytest.mark.parametrize("url", ["https://user:s3/cr3t@host/w.gguf", "https://user:s3/cr3t@host", "https:///w.gguf"])
def test_a_url_that_falls_apart_is_refused_and_says_how_to_write_it(volume: Path, url: str) -> None:
    failure = refused(volume, {"url": url})
    assert (failure.error.reason, failure.exit_code) == ("BadSource", 42)
    assert "%2F" in failure.error.message
    assert "cr3t" not in str(failure)


def test_a_page_for_browsers_is_no_model(web: Web, volume: Path) -> None:
    class Pages(Files):
        def __call__(self, asked: Any) -> Answer:
            return Answer(200, b"<html>sign in</html>", {"Content-Type": "text/html; charset=utf-8"})

    web[1].backend = Pages({})
    failure = refused(volume, source(web, "Qwen3-8B"))
    assert (failure.error.reason, failure.error.error_class) == ("BadSource", "Configuration")
    assert "answers with a page for a browser" in failure.error.message
    assert "set source.type to huggingface" in failure.error.message
