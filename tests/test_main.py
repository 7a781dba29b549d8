"""`python -m app`: the commands, what they print, and how they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
import yaml

from app.__main__ import main
from app.serving.server import listen
from tests.serving.running import HANG_SECONDS, children, is_closed
from tools.sandbox.process import free_port


def test_crds_are_written_as_a_kustomize_base(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "crds"
    assert main(["crds", str(folder)]) == 0
    names = {path.name for path in folder.iterdir()}
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert names == {"kustomization.yaml", *listed}
    assert "inferenceservices.yaml" in listed


def test_a_check_of_fresh_files_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["crds", str(tmp_path)])
    assert main(["crds", str(tmp_path), "--check"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("change", ["edited", "removed"])
def test_a_check_names_what_is_stale_and_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    main(["crds", str(tmp_path)])
    stale = tmp_path / "modelcaches.yaml"
    if change == "edited":
        stale.write_text("kind: Other\n")
    else:
        stale.unlink()
    assert main(["crds", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == f"not up to date: modelcaches.yaml; run `python -m app crds {tmp_path}`\n"


@pytest.mark.parametrize("command", ["serve", "agent"])
def test_wrong_settings_are_all_named_without_a_traceback(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERENCE_TOLERATIONS", '[{"key": 1}]')
    monkeypatch.setenv("INFERENCE_DOWNLOADER_ENV", '{"HF_TOKEN": "hf_private"}')
    monkeypatch.setenv("INFERENCE_NODE_SELECTOR", "gpu")
    assert main([command]) == 2
    told = capsys.readouterr().err
    assert told.startswith("wrong settings: ")
    assert "INFERENCE_TOLERATIONS[0].key: Input should be a valid string" in told
    assert "INFERENCE_DOWNLOADER_ENV: HF_TOKEN holds a secret: name a Secret" in told
    assert "INFERENCE_NODE_SELECTOR: 'gpu': write label=value, separated by commas" in told
    assert "hf_private" not in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "the following arguments are required: COMMAND", id="no command"),
        pytest.param(["fly"], "invalid choice: 'fly'", id="an unknown command"),
        pytest.param(["serve", "--port", "http"], "invalid int value: 'http'", id="a port that is no number"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "serve" in shown
    assert "crds" in shown


PROJECT = Path(__file__).parents[1]


def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "app", *arguments]
    env = os.environ | environment
    return subprocess.Popen(command, cwd=PROJECT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_serve_answers_until_it_is_asked_to_stop() -> None:
    port = free_port()
    server = run("serve", "--host=127.0.0.1", f"--port={port}")
    try:
        assert _answers(server, f"http://127.0.0.1:{port}/readyz")
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=HANG_SECONDS)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode in (0, -signal.SIGTERM), output
    assert "Traceback" not in output


def test_probes_have_a_port_without_hooks_and_nothing_is_left_at_the_end() -> None:
    hooks, probes = free_port(), free_port()
    server = run("serve", "--host=127.0.0.1", f"--port={hooks}", f"--probes-port={probes}")
    try:
        assert _answers(server, f"http://127.0.0.1:{hooks}/readyz")
        for path in ("/healthz", "/readyz", "/metrics"):
            assert _answers(server, f"http://127.0.0.1:{probes}{path}")
        with httpx2.Client(timeout=HANG_SECONDS) as client:
            assert client.post(f"http://127.0.0.1:{probes}/sync/modelcache", json={}).status_code == 404
            assert client.post(f"http://127.0.0.1:{hooks}/sync/gpupool", json={}).status_code == 400
        workers = children(server.pid)
        assert workers
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=HANG_SECONDS)
    finally:
        server.kill()
        server.communicate()
    assert "Traceback" not in output
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []


def test_uvicorn_alone_serves_the_same_application() -> None:
    port = free_port()
    protocol = "app.serving.protocol:BoundedProtocol"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--http", protocol, f"--port={port}"]
    server = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert _answers(server, f"http://127.0.0.1:{port}/readyz")
        url = f"http://127.0.0.1:{port}/sync/modelcache"
        assert httpx2.post(url, content=b" " * (4 << 20) + b"{}", timeout=HANG_SECONDS).status_code == 413
        with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * (512 << 10))
            assert is_closed(connection)
    finally:
        server.terminate()
        output, _ = server.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("option", "host"), [("--port", "127.0.0.1"), ("--probes-port", "127.0.0.1"), ("--port", "::1"), ("--port", "")]
)
def test_a_port_in_use_is_one_sentence(option: str, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with listen(host, 0) as taken:
        port = taken.getsockname()[1]
        options = [f"--port={free_port()}", f"{option}={port}"]
        assert main(["serve", f"--host={host}", *options]) == 2
    told = capsys.readouterr().err
    assert told == f"cannot listen on {host or 'all addresses'}, port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--port=99999"], "port 99999: ports end at 65535", id="no such port"),
        pytest.param(["--host=192.0.2.1"], "192.0.2.1, port 8080: Cannot assign requested address", id="not ours"),
        pytest.param(["--host=no.such.host.invalid"], "no.such.host.invalid", id="no such host"),
    ],
)
def test_an_address_that_cannot_be_had_is_one_sentence(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *options]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_uvicorn_alone_refuses_wrong_settings_in_one_sentence() -> None:
    command = [sys.executable, "-m", "uvicorn", "app.main:app"]
    env = os.environ | {"INFERENCE_DRAIN": "soon"}
    ended = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert ended.returncode == 2
    assert ended.stderr.startswith("wrong settings: INFERENCE_DRAIN")
    assert "Traceback" not in ended.stderr


def test_all_addresses_are_those_of_both_families() -> None:
    with listen("", 0) as listening:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listening.getsockname()[1]), timeout=HANG_SECONDS).close()


def test_serve_refuses_wrong_settings_by_name() -> None:
    server = run("serve", f"--port={free_port()}", INFERENCE_DRAIN="soon")
    output, _ = server.communicate(timeout=HANG_SECONDS)
    assert server.returncode == 2
    assert "INFERENCE_DRAIN" in output
    assert "Traceback" not in output
    assert "is not a duration: write for example 30s" in output


def _answers(server: subprocess.Popen[str], url: str) -> bool:
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return httpx2.get(url).status_code == 200
        except httpx2.TransportError:
            time.sleep(0.1)
    return False
