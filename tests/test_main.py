"""`python -m app`: the commands, what they print, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from app.__main__ import main
from sandbox.process import free_port


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
        output, _ = server.communicate(timeout=20)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode in (0, -signal.SIGTERM), output
    assert "Traceback" not in output


def test_serve_refuses_wrong_settings_by_name() -> None:
    server = run("serve", f"--port={free_port()}", INFERENCE_DRAIN="soon")
    output, _ = server.communicate(timeout=30)
    assert server.returncode == 2
    assert "INFERENCE_DRAIN" in output
    assert "Traceback" not in output
    assert "is not a duration: write for example 30s" in output


def _answers(server: subprocess.Popen[str], url: str) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            time.sleep(0.1)
    return False
