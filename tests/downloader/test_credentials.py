"""A Secret that is missing is said by its name; one that is there is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.contracts.download import EXIT_FINAL
from app.downloader.errors import DownloadError
from app.downloader.sources.registry import require_secret
from app.downloader.task import Task
from tests.downloader.conftest import task
from tests.downloader.test_process import Job

AWS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}


def asked(kind: str, secret: str = "mine") -> Task:
    return task(Path("/volume"), kind, {}, secret=secret)


@pytest.mark.parametrize(
    ("kind", "environment", "words"),
    [
        ("huggingface", {}, "Secret mine does not exist, or lacks its key token"),
        ("huggingface", {"HF_TOKEN": "  "}, "its key token"),
        ("s3", {}, "its keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3", {"AWS_ACCESS_KEY_ID": "AKIA"}, "its key AWS_SECRET_ACCESS_KEY"),
        ("gcs", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"}, "its key key.json"),
    ],
)
def test_what_is_missing_is_named(kind: str, environment: dict[str, str], words: str) -> None:
    with pytest.raises(DownloadError, match=words) as found:
        require_secret(asked(kind), environment)
    assert (found.value.error.reason, found.value.exit_code) == ("SecretMissing", EXIT_FINAL)


def test_what_is_there_is_taken(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    require_secret(asked("huggingface"), {"HF_TOKEN": "hf_valid"})
    require_secret(asked("s3"), AWS)
    require_secret(asked("gcs"), {"GOOGLE_APPLICATION_CREDENTIALS": str(key)})
    require_secret(asked("http"), {})


@pytest.mark.parametrize("kind", ["huggingface", "s3", "gcs", "http"])
def test_a_source_that_refers_to_no_secret_needs_none(kind: str) -> None:
    require_secret(asked(kind, secret=""), {})


def test_the_process_ends_for_good_when_its_secret_is_missing(volume: Path) -> None:
    environment = {
        "INFERENCE_SECRET": "s3-credentials",
        "INFERENCE_SOURCE_TYPE": "s3",
        "INFERENCE_SOURCE": json.dumps({"bucket": "b", "key": "k", "endpoint": "http://127.0.0.1:9"}),
    }
    code, log = Job(volume, environment).run()
    assert code == EXIT_FINAL
    assert "SecretMissing: Secret s3-credentials does not exist" in log
