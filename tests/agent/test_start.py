"""A wrong start of the agent is one sentence that says what to change, and an exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.sandbox.process import free_port
from tools.sandbox.serving import serving

PROJECT = Path(__file__).parent.parent.parent
HANG_SECONDS = 120.0
"""What waits for longer waits for ever."""


def start(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The agent's process until it ends."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "HOME": str(home), **environment}
    argv = [sys.executable, "-m", "app", "agent", "--host=127.0.0.1", f"--port={free_port()}", *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=HANG_SECONDS)


def sentence(ended: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """What it said; fails when that is more than one line."""
    assert ended.returncode == code, ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


def config(path: Path, server: str) -> Path:
    body = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))
    return path


class Server:
    """An API server that answers every request with one status."""

    def __init__(self, status: int) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                body = json.dumps({"code": status, "reason": "Because", "message": "the server's own words"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture(params=[401])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    running = Server(request.param)
    with serving(running.http):
        yield running


def test_without_a_cluster_it_says_how_to_name_one(tmp_path: Path) -> None:
    assert "give --kubeconfig, set KUBECONFIG, or run in a pod" in sentence(start(tmp_path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "/nowhere/config of --kubeconfig does not exist" in sentence(start(tmp_path, "--kubeconfig=/nowhere/config"))
    assert "/nowhere/config of KUBECONFIG does not exist" in sentence(start(tmp_path, KUBECONFIG="/nowhere/config"))


@pytest.mark.parametrize("text", ["", "[]", "{}\n---\n{}"])
def test_a_file_that_is_something_else_is_said_to_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    said = sentence(start(tmp_path, KUBECONFIG=str(tmp_path / "config")))
    assert "object" not in said
    assert "attribute" not in said


@pytest.mark.parametrize(
    "text", ["", "no yaml: [", "[]", "{}", "current-context: gone", '{"clusters": 3}', "\x00", '{"users": [{}]}']
)
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    assert f"the file {path} of --kubeconfig cannot be used: " in sentence(start(tmp_path, f"--kubeconfig={path}"))


def test_a_pod_without_a_token_says_so(tmp_path: Path) -> None:
    inside = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    assert "the pod's service account cannot be used: " in sentence(start(tmp_path, **inside))


@pytest.mark.parametrize(
    ("server", "says"),
    [(401, "does not accept these credentials"), (403, "read Lease inference-agent in namespace inference-system")],
    indirect=["server"],
)
def test_a_refused_account_is_told_apart_from_missing_rights(tmp_path: Path, server: Server, says: str) -> None:
    said = sentence(start(tmp_path, f"--kubeconfig={config(tmp_path / 'config', server.url)}"))
    assert says in said
    assert "the server's own words" in said


def test_the_flag_goes_before_the_variable_and_the_variable_before_the_home(tmp_path: Path, server: Server) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    good, home = config(tmp_path / "good", server.url), tmp_path / "home"
    other = config(home / ".kube" / "config", closed)
    sentence(start(home, f"--kubeconfig={good}", KUBECONFIG=str(other)))
    assert len(server.asked) == 1
    sentence(start(home, KUBECONFIG=f"/nowhere:{good}", KUBERNETES_SERVICE_HOST="127.0.0.1"))
    assert len(server.asked) == 2
    config(home / ".kube" / "config", server.url)
    sentence(start(home))
    assert len(server.asked) == 3


def test_an_api_server_that_does_not_answer_is_waited_for_a_little(tmp_path: Path) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    begun = time.monotonic()
    said = sentence(start(tmp_path, f"--kubeconfig={config(tmp_path / 'config', closed)}"))
    assert f"the API server {closed} cannot be reached: " in said
    assert time.monotonic() - begun > 10


@pytest.mark.parametrize("server", [404], indirect=True)
def test_a_port_that_is_taken_is_named(tmp_path: Path, server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = config(tmp_path / "config", server.url)
        said = sentence(start(tmp_path, f"--kubeconfig={path}", f"--port={port}"))
    assert f"cannot listen on 127.0.0.1:{port}: " in said


def test_wrong_settings_are_one_sentence_too(tmp_path: Path) -> None:
    ended = start(tmp_path, INFERENCE_EXPORTER_PORT="many")
    assert ended.returncode == 2
    assert "wrong settings: " in ended.stderr
    assert "Traceback" not in ended.stderr
