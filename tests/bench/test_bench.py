"""The benchmark runs and prints what it promises; its figures are never asserted."""

from __future__ import annotations

import os

import pytest

from tests.bench.__main__ import cpu_seconds, main


def test_the_benchmark_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--requests", "20"]) == 0
    printed = capsys.readouterr().out
    for word in ("machine:", "syncs/s/core", "p50", "p99", "MiB resident", "ratio:"):
        assert word in printed


def test_cpu_time_of_another_process_is_seen_however_short() -> None:
    before = cpu_seconds(os.getpid())
    assert cpu_seconds(os.getpid()) > before
