"""The benchmark runs and prints what it promises; its figures are never asserted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench import agent, downloader, exact, planner, tiny, worst
from tests.bench.__main__ import cpu_seconds, main


def test_the_benchmark_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--requests", "20"]) == 0
    printed = capsys.readouterr().out
    for word in ("machine:", "syncs/s/core", "p50", "p99", "MiB resident", "ratio:"):
        assert word in printed


def test_cpu_time_of_another_process_is_seen_however_short() -> None:
    before = cpu_seconds(os.getpid())
    assert cpu_seconds(os.getpid()) > before


def test_the_planners_benchmark_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert planner.main(["--sizes", "10", "20"]) == 0
    printed = capsys.readouterr().out
    for word in ("machine:", "20 nodes and requests", "placements/s/core", "pool sync"):
        assert word in printed


def test_the_line_of_very_many_services_prints_its_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "SERVICES", 50)
    assert tiny.main([]) == 0
    printed = capsys.readouterr().out
    for word in ("machine:", "50 services of org/tiny", "MiB", "s of CPU", "had asked already"):
        assert word in printed


def test_the_worst_objects_are_printed_with_their_ratio(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worst, "WORST", {"modelcache": {"many_urls": worst.many_urls}})
    monkeypatch.setattr(worst, "HELD", {"inferenceservice": {"marks": worst.marks}})
    assert worst.main() == 0
    printed = capsys.readouterr().out
    assert "worst ratio:" in printed
    assert "inferenceservice marks, customize" in printed


def test_the_exact_solver_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert exact.main(["--clusters", "2"]) == 0
    assert "exact solver:" in capsys.readouterr().out


def test_the_agents_benchmark_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.main(["--nodes", "10", "--pods", "1000"]) == 0
    printed = capsys.readouterr().out
    for word in ("machine:", "read a second", "first look:", "idle look:", " 0 writes"):
        assert word in printed


def test_the_downloaders_benchmark_prints_its_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert downloader.main(["--mib", "8", "--files", "4", "--rounds", "1", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for word in ("machine:", "org/large: library", "org/small: library", "without hashing", "peak", "nothing to do:"):
        assert word in printed
