"""The process as the Job runs it: signals, exit codes, last words, reports, a full disk, memory."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.apiserver.access import of_account
from app.apiserver.client import ApiError
from app.contracts.download import REPORT_ANNOTATION, DownloadReport, ReportedError, parse_annotation
from app.downloader import main
from app.downloader import report as reports
from app.downloader.errors import DownloadError
from app.downloader.partial_file import CHUNK
from app.downloader.report import JobPatch, Reporter, build_patch
from app.downloader.retry import StallTimeout
from app.downloader.run import Run
from tests.downloader.conftest import REPOSITORY, files_of, task
from tests.downloader.hub import Hub, Repository
from tests.downloader.models import model, safetensors
from tests.downloader.server import Answer, Asked, Files, Server, Trouble

FOLDER = "tiny-1234"
Hosted = tuple[Hub, Server]
LARGE = model(4_000_000)
SIZE = len(LARGE["model.safetensors"])
HANG_SECONDS = 120.0
"""Ends a test that hangs, on any machine."""


@dataclass
class Job:
    """One pod's container."""

    volume: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def last_words(self) -> Path:
        return self.volume.parent / "termination-log"

    @property
    def variables(self) -> dict[str, str]:
        return {
            "INFERENCE_MODEL_NAME": REPOSITORY,
            "INFERENCE_SOURCE_TYPE": "huggingface",
            "INFERENCE_SOURCE": json.dumps({"repository": REPOSITORY}),
            "INFERENCE_VOLUME": str(self.volume),
            "INFERENCE_PATH": FOLDER,
            "INFERENCE_RETRY_SECONDS": "1",
            "INFERENCE_DOWNLOADER_ALLOWED_HOSTS": "127.0.0.1",
            "INFERENCE_TERMINATION_LOG": str(self.last_words),
            **self.environment,
        }

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "app.downloader.main"],
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        """Exit code and log."""
        process = self.start()
        log, _ = process.communicate(timeout=HANG_SECONDS)
        return process.returncode, log


@pytest.fixture
def job(hub: Hosted, volume: Path) -> Job:
    hub[0].repositories[REPOSITORY] = Repository(LARGE)
    return Job(volume)


@contextmanager
def held_at(server: Server, at: int) -> Iterator[threading.Event]:
    """The weights come up to this byte, and then nothing until the test is over."""
    gate = threading.Event()
    server.troubles = [Trouble("model.safetensors", cut_at=at, gate=gate)]
    try:
        yield gate
    finally:
        gate.set()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.02)


def staged(volume: Path) -> int:
    """Bytes of unfinished files; they may be finished while we look."""
    sizes = []
    for path in (volume / ".staging" / FOLDER / "parts").glob("*"):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sum(sizes)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
@pytest.mark.parametrize("tenths", [1, 5, 9])
def test_a_killed_download_goes_on_where_it_was(
    hub: Hosted, job: Job, number: signal.Signals, code: int, tenths: int
) -> None:
    at = SIZE * tenths // 10
    with held_at(hub[1], at):
        process = job.start()
        wait_for(lambda: staged(job.volume) > at - CHUNK)
        process.send_signal(number)
        process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == code
    assert not (job.volume / FOLDER).exists()
    assert job.run()[0] == 0
    assert files_of(job.volume / FOLDER) == LARGE
    assert hub[1].sent_of("model.safetensors") <= SIZE + CHUNK
    if number == signal.SIGTERM:
        assert job.last_words.read_text().startswith("Stopped")


def test_a_pod_that_is_told_to_stop_while_it_waits_stops_at_once(hub: Hosted, job: Job) -> None:
    hub[1].troubles = [Trouble("/api/models", times=99, status=503)]
    process = Job(job.volume, {"INFERENCE_RETRY_SECONDS": "600"}).start()
    wait_for(lambda: len(hub[1].asked) > 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 143


def test_a_failure_is_said_in_the_termination_message_and_by_the_exit_code(hub: Hosted, job: Job) -> None:
    hub[0].repositories[REPOSITORY].gated = True
    code, log = job.run()
    assert code == 42
    assert job.last_words.read_text().startswith("GatedRepository: ")
    assert "GatedRepository" in log
    assert "Traceback" not in log


def test_wrong_settings_end_it_for_good(job: Job) -> None:
    code, log = Job(job.volume, {"INFERENCE_SOURCE": "{}"}).run()
    assert (code, "source.repository" in log) == (42, True)


def test_no_secret_comes_into_the_log(hub: Hosted, job: Job) -> None:
    hub[1].troubles = [Trouble("model.safetensors", cut_at=1000)]
    source = {"url": hub[1].url.replace("http://", "http://me:s3cr3t@") + "/nothing?signature=s1gn3d"}
    tokens = {"HF_TOKEN": "hf_wrong_t0ken", "AWS_SECRET_ACCESS_KEY": "aws_s3cret"}
    web = {"INFERENCE_SOURCE_TYPE": "http", "INFERENCE_SOURCE": json.dumps(source)}
    for environment in (tokens, {**tokens, **web}):
        _, log = Job(job.volume, environment).run()
        said = log + job.last_words.read_text()
        assert not [secret for secret in ("s3cr3t", "s1gn3d", "t0ken", "aws_s3cret") if secret in said]


def test_a_bug_is_reported_without_its_traceback_in_the_message(job: Job) -> None:
    (job.volume / ".locks").write_text("a file where a folder should be")
    code, _ = job.run()
    assert code == 1
    assert "Traceback" not in job.last_words.read_text()


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of its own; needs root."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.usefixtures("job")
def test_a_small_volume_is_refused_and_says_by_how_much(hub: Hosted, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 18) as disk:
        code, log = Job(disk).run()
        assert code == 1
        assert "too small by 5." in log
        assert hub[1].sent_of("/resolve/") == 0


def test_a_volume_that_fills_up_on_the_way_keeps_what_came_and_goes_on_when_there_is_room(
    web: tuple[Files, Server], tmp_path: Path
) -> None:
    weights = safetensors({"w": ("F32", [5_000_000])})

    class Silent(Files):
        """Tells no sizes beforehand."""

        def __call__(self, asked: Asked) -> Answer:
            answer = super().__call__(asked)
            if asked.method == "HEAD":
                return Answer(200, b"", {"ETag": answer.headers["ETag"], "Transfer-Encoding": "chunked"})
            return answer

    web[1].backend = Silent({"/model.safetensors": weights})
    environment = {
        "INFERENCE_SOURCE_TYPE": "http",
        "INFERENCE_SOURCE": json.dumps({"url": f"{web[1].url}/model.safetensors"}),
    }
    with small_disk(tmp_path / "disk", 48) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * (30 << 20))
        code, log = Job(disk, environment).run()
        assert (code, "VolumeTooSmall" in log) == (1, True)
        there = staged(disk)
        assert there > 16 << 20
        ballast.unlink()
        code, log = Job(disk, environment).run()
        assert code == 0, log
        assert files_of(disk / FOLDER) == {"model.safetensors": weights}
        assert web[1].asked[-1].headers["Range"] == f"bytes={there}-"


@dataclass
class API:
    """A Job at the API server, as far as a merge patch goes."""

    annotations: list[str] = field(default_factory=list)
    failing: int = 0

    def __call__(self, asked: Asked) -> Answer:
        right = asked.path == "/apis/batch/v1/namespaces/ai/jobs/tiny-download-1" and asked.method == "PATCH"
        if not right or asked.headers.get("Authorization") != "Bearer t0k":
            return Answer(403)
        if self.failing:
            self.failing -= 1
            return Answer(500)
        assert asked.headers["Content-Type"] == "application/merge-patch+json"
        self.annotations.append(json.loads(asked.body)["metadata"]["annotations"][REPORT_ANNOTATION])
        return Answer(200, b"{}")


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("t0k\n")
    return tmp_path


def test_reports_come_at_intervals_and_once_at_the_end(account: Path) -> None:
    api = API()
    with Server(api).running() as server:
        seen = iter(range(1, 1000))
        reporter = Reporter(
            lambda: DownloadReport(bytes_done=next(seen), bytes_total=1000),
            JobPatch("ai/tiny-download-1", of_account(server.url, account)),
            interval=0.02,
        )
        reporter.start()
        wait_for(lambda: len(api.annotations) >= 3)
        last = DownloadReport(bytes_done=1000, bytes_total=1000, path=FOLDER, error=ReportedError("a", "b", "c"))
        reporter.finish(last)
    reports = [parse_annotation(text) for text in api.annotations]
    assert reports[-1] == last
    done = [it.bytes_done for it in reports if it]
    assert done == sorted(done)


def test_what_is_waited_out_is_in_the_reports(hub: Hosted, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod tries for ten minutes, and people can mend what they know of."""
    hub[0].repositories[REPOSITORY] = Repository(LARGE)
    hub[1].troubles = [Trouble("/api/models", times=2, status=503)]
    run, pause, seen = Run(task(volume, "huggingface", {"repository": REPOSITORY})), StallTimeout.pause, list[str]()

    def watched(stall: StallTimeout, failure: DownloadError, attempt: int) -> None:
        pause(stall, failure, attempt)
        error = run.snapshot().error
        seen.append(error.reason if error else "")

    monkeypatch.setattr(StallTimeout, "pause", watched)
    run()
    assert seen == ["SourceUnavailable", "SourceUnavailable"]
    assert run.snapshot().error is None


def test_the_last_report_is_tried_again(account: Path) -> None:
    api = API(failing=2)
    with Server(api).running() as server:
        patch = JobPatch("ai/tiny-download-1", of_account(server.url, account))
        assert Reporter(DownloadReport, patch).finish(DownloadReport(files_done=1))
    assert len(api.annotations) == 1


def test_the_last_report_is_tried_for_a_while_and_its_loss_is_known(
    account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "LAST_SECONDS", 3.0)
    patch = JobPatch("ai/tiny-download-1", of_account("http://127.0.0.1:9", account))
    begun = time.monotonic()
    assert not Reporter(DownloadReport, patch).finish(DownloadReport())
    assert time.monotonic() - begun > 1


def test_a_report_that_fails_on_the_way_fails_nothing(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "LAST_SECONDS", 0.0)
    patch = JobPatch("ai/tiny-download-1", of_account("http://127.0.0.1:9", account))
    looks = itertools.count()
    reporter = Reporter(lambda: DownloadReport(files_done=next(looks)), patch, interval=0.01)
    reporter.start()
    wait_for(lambda: next(looks) > 9)  # counts our own, too
    assert reporter._thread.is_alive()
    assert not reporter.finish(DownloadReport())
    assert not reporter._thread.is_alive()


@pytest.mark.usefixtures("job")
def test_a_pod_whose_last_report_is_lost_leaves_it_to_the_next_which_fetches_nothing(
    hub: Hosted, volume: Path, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the report says where the model is."""
    monkeypatch.setattr(reports, "LAST_SECONDS", 0.1)
    monkeypatch.setattr(main, "set_up", lambda: None)
    own = Job(volume).variables | {"INFERENCE_JOB": "ai/tiny-download-1"}
    api, terminate = API(failing=99), signal.getsignal(signal.SIGTERM)
    with Server(api).running() as server:
        patch = JobPatch("ai/tiny-download-1", of_account(server.url, account))
        monkeypatch.setattr(main, "build_patch", lambda *_: patch)
        try:
            assert main.run(own) == 1
            words = Job(volume).last_words.read_text()
            assert words.startswith("ReportNotSent: ")
            monkeypatch.setattr(reports, "LAST_SECONDS", HANG_SECONDS)
            api.failing, sent = 0, hub[1].sent_of("/resolve/")
            assert main.run(own) == 0
        finally:
            signal.signal(signal.SIGTERM, terminate)
    assert hub[1].sent_of("/resolve/") == sent
    assert parse_annotation(api.annotations[-1]).path == FOLDER  # type: ignore[union-attr]


def test_the_api_server_is_trusted_by_the_pods_own_authority_only(tmp_path: Path, account: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    certificate = certify(key, "127.0.0.1")
    (account / "ca.crt").write_bytes(certificate)
    pem = tmp_path / "server.pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(certificate + key.private_bytes(*plain))
    api = API()
    with Server(api, tls=pem).running() as server:
        where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": server.url.rpartition(":")[2]}
        patch = build_patch("ai/tiny-download-1", where, account)
        assert patch
        patch(DownloadReport(files_done=3))
        (account / "ca.crt").write_bytes(certify(rsa.generate_private_key(65537, 2048), "127.0.0.1"))
        stranger = build_patch("ai/tiny-download-1", where, account)
        assert stranger
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger(DownloadReport(files_done=4))
    assert [parse_annotation(text) for text in api.annotations] == [DownloadReport(files_done=3)]


def certify(key: rsa.RSAPrivateKey, address: str) -> bytes:
    """A certificate that vouches for itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_without_a_job_or_a_token_there_are_no_reports(tmp_path: Path) -> None:
    host = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert build_patch("", host, tmp_path) is None
    assert build_patch("ai/x", {}, tmp_path) is None
    assert build_patch("ai/x", host, tmp_path) is None
