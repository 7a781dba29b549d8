"""What programs log, as whoever collects it reads it: a JSON object a line, each with whose object it is about."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app import log as logs
from app.log import about, fields, process_is_about, set_up
from app.serving.answer import Call, answer
from app.settings import Settings
from tools.sandbox.process import free_port

log = logging.getLogger("app.test")
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
HANG_SECONDS = 120


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    process_is_about("", "", "")  # a program that ran in this process may have said whose it is
    yield
    root.handlers[:], root.level, sys.excepthook = handlers, level, hook
    root.setLevel(level)
    for library in logs.LIBRARIES:
        logging.getLogger(library).setLevel(logging.NOTSET)
    process_is_about("", "", "")


@pytest.fixture
def written() -> io.StringIO:
    stream = io.StringIO()
    set_up(stream=stream, environment=POD)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_names_its_object_and_says_the_rest_in_fields(written: io.StringIO) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    with about("InferenceService", "team-a", "demo"):
        log.warning("an answer of %d", 500, extra=fields(hook="sync", seconds=1.5, error=ValueError("no")))
    log.info("nobody's")
    first, second = lines(written)
    assert before <= datetime.fromisoformat(first.pop("time"))
    assert first == {
        "level": "warning",
        "logger": "app.test",
        "message": "an answer of 500",
        "kind": "InferenceService",
        "namespace": "team-a",
        "name": "demo",
        "hook": "sync",
        "seconds": 1.5,
        "error": "no",
    }
    assert not {"kind", "namespace", "name"} & second.keys()


def test_a_field_takes_no_place_of_the_lines_own(written: io.StringIO) -> None:
    log.info("said", extra=fields(message="a", time="b", name="n"))
    [line] = lines(written)
    assert (line["message"], line["message_"], line["time_"], line["name"]) == ("said", "a", "b", "n")


def test_an_exception_is_one_line_with_its_traceback_in_a_field(written: io.StringIO) -> None:
    try:
        try:
            raise OSError("the first")
        except OSError as error:
            raise ValueError("the\nsecond") from error
    except ValueError:
        log.exception("it failed")
    [line] = lines(written)
    assert line["level"] == "error"
    assert "OSError: the first" in line["traceback"]
    assert line["traceback"].endswith("ValueError: the\nsecond")


def test_threads_of_a_process_that_is_about_one_object_name_it(written: io.StringIO) -> None:
    process_is_about("Job", "ai", "tiny-1")
    thread = threading.Thread(target=log.info, args=("from a thread",))
    thread.start()
    thread.join()
    assert [(it["kind"], it["namespace"], it["name"]) for it in lines(written)] == [("Job", "ai", "tiny-1")]


def test_secrets_leave_by_no_part_of_a_line(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    secret = "-".join(["s3cret", "value"])  # tracebacks quote the program
    try:
        Settings.model_validate({"pools": secret})
    except ValueError as error:
        wrong = error
    else:
        pytest.fail("that is no value of pools")
    try:
        raise RuntimeError(f"GET https://user:{secret}@host/x?sig={secret}") from wrong
    except RuntimeError:
        log.exception("with hf_secret", extra=fields(url=f"https://host/?{secret}", header=f"Bearer {secret}"))
    assert "hf_secret" not in written.getvalue()
    assert secret not in written.getvalue()
    assert len(lines(written)) == 1


@pytest.mark.parametrize(
    ("stream", "environment", "format", "is_json"),
    [
        (io.StringIO, POD, "", True),
        (io.StringIO, POD, "auto", True),
        (Terminal, POD, "", False),
        (io.StringIO, {}, "", False),
        (io.StringIO, {}, "json", True),
        (io.StringIO, POD, "text", False),
        (io.StringIO, {"INFERENCE_LOG_FORMAT": "json"}, "", True),
        (io.StringIO, {"INFERENCE_LOG_FORMAT": "xml"}, "", False),
    ],
)
def test_pods_write_json_and_terminals_text(
    stream: type[io.StringIO], environment: dict[str, str], format: str, is_json: bool
) -> None:
    written = stream()
    set_up("info", format, written, environment)
    log.info("it is so", extra=fields(kind="Pod", name="p", reason="two words"))
    assert written.getvalue().startswith("{") is is_json
    if not is_json:
        assert written.getvalue().endswith(' INFO app.test it is so kind=Pod name=p reason="two words"\n')


@pytest.mark.parametrize(
    ("level", "environment", "seen"),
    [
        ("warning", {}, ["warning", "error"]),
        ("", {"INFERENCE_LOG_LEVEL": "debug"}, ["debug", "info", "warning", "error"]),
        ("", {"INFERENCE_LOG_LEVEL": "loud"}, ["info", "warning", "error"]),
    ],
)
def test_one_setting_says_what_is_written(level: str, environment: dict[str, str], seen: list[str]) -> None:
    stream = io.StringIO()
    set_up(level, "json", stream, environment)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("x")
    logging.getLogger("httpx2").info("of each request")
    assert [it["level"] for it in lines(stream)] == seen


@pytest.mark.parametrize("body", [b"{}", b'{"parent": 3}'])
def test_what_is_wrong_with_a_request_is_no_line(written: io.StringIO, body: bytes) -> None:
    assert answer(Call("sync", "inferenceservice", datetime.now(UTC)), body, Settings()).code == 400
    assert written.getvalue() == ""


def test_a_bug_of_a_hook_names_the_parent(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise KeyError("a bug")

    monkeypatch.setattr("app.serving.answer._respond", broken)
    metadata = {"name": "demo", "namespace": "team-a", "annotations": {"k": "s3cret-value"}}
    body = json.dumps({"parent": {"metadata": metadata}}).encode()
    assert answer(Call("sync", "inferenceservice", datetime.now(UTC)), body, Settings()).code == 500
    [line] = lines(written)
    assert (line["kind"], line["namespace"], line["name"]) == ("InferenceService", "team-a", "demo")
    assert (line["level"], line["hook"]) == ("error", "sync")
    assert line["traceback"].endswith("KeyError: 'a bug'")
    assert "s3cret-value" not in written.getvalue()


def test_a_bug_that_ends_a_program_is_a_line(tmp_path: Path) -> None:
    program = "from app.log import set_up\nset_up()\nraise KeyError('x')"
    env = os.environ | POD
    ended = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=HANG_SECONDS
    )
    [line] = map(json.loads, ended.stdout.splitlines())
    assert ended.returncode == 1
    assert line["level"] == "critical"
    assert line["traceback"].endswith("KeyError: 'x'")


def test_all_that_the_service_writes_in_a_pod_is_json() -> None:
    argv = [sys.executable, "-m", "app", "serve", "--host=127.0.0.1", f"--port={free_port()}"]
    with subprocess.Popen(argv, env=os.environ | POD, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        process.terminate()
        rest = [json.loads(line) for line in process.stdout]
    assert {it["level"] for it in [first, *rest]} == {"info"}
