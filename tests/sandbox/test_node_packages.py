"""Where no real node can run, the reason is said before anything is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tools.sandbox.node import packages
from tools.sandbox.node.machine import cache_folder
from tools.sandbox.node.packages import Package


@pytest.fixture(autouse=True)
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where nothing is in the way."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "MEMORY", 0)
    monkeypatch.setattr(packages, "DISK", 0)
    monkeypatch.setattr(packages, "DISK_LATER", 0)
    monkeypatch.setattr(packages, "_can_make_namespaces", lambda: True)
    monkeypatch.setattr(packages, "_has_avx2", lambda: True)
    monkeypatch.setattr(packages, "PACKAGES", (Package("coreutils", "ls"),))


def test_nothing_in_the_way_is_no_obstacle() -> None:
    assert packages.find_obstacle() is None


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert packages.find_obstacle() == "a real node needs root"


def test_with_too_little_memory_both_numbers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MEMORY", 1 << 60)
    obstacle = packages.find_obstacle() or ""
    assert f"needs {(1 << 60) // packages.GIB} GiB of memory; this machine has " in obstacle


def test_with_too_little_disk_the_place_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "DISK", 1 << 60)
    monkeypatch.setattr(packages, "DISK_LATER", 1 << 60)
    assert str(cache_folder()) in (packages.find_obstacle() or "")


def test_without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_can_make_namespaces", lambda: False)
    assert "namespaces" in (packages.find_obstacle() or "")


def test_missing_packages_are_named_where_nothing_can_install_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packages, "PACKAGES", (Package("runc", "no-such-program"), Package("cni", f"{tmp_path}/none")))
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert packages.missing() == ["runc", "cni"]
    assert packages.find_obstacle() == "a real node needs runc, cni, and there is no apt-get to install them with"


def test_missing_packages_are_no_obstacle_on_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PACKAGES", (Package("runc", "no-such-program"),))
    monkeypatch.setattr(shutil, "which", lambda name, path=None: "/usr/bin/apt-get" if name == "apt-get" else None)
    assert packages.find_obstacle() is None
