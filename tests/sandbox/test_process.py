"""Ports and processes of the sandbox."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tools.sandbox import process
from tools.sandbox.process import accepts, free_port


@pytest.mark.parametrize("outgoing", ["32768 60999", "10240 29000", "1024 65535", "", "no file"])
def test_a_port_is_given_once_and_no_outgoing_connection_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outgoing: str
) -> None:
    told = tmp_path / "range"
    if outgoing != "no file":
        told.write_text(outgoing)
    monkeypatch.setattr(process, "OUTGOING", told)
    monkeypatch.setattr(process, "_given", set())
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == 200
    assert all(port in process.PORTS for port in ports)
    if outgoing == "10240 29000":
        assert min(ports) > 29_000


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listening:
        taken = listening.getsockname()[1]
        choices = iter([taken, taken, taken + 1, *process.PORTS])
        monkeypatch.setattr(process, "_given", set())
        monkeypatch.setattr("secrets.choice", lambda _: next(choices))
        assert free_port() != taken


def test_a_door_is_open_or_says_why_not() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as door:
        port = door.getsockname()[1]
        assert accepts("127.0.0.1", port) == (True, "")
    opened, seen = accepts("127.0.0.1", port)
    assert not opened
    assert f"127.0.0.1:{port}" in seen
    assert "refused" in seen
