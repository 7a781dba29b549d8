"""What all tests share: options, how they are dealt to processes, and what is said of those that were skipped.

Property tests draw the same examples at each run, so a change is refused for its own faults only. New examples are
looked for by `make explore`.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault: no deadlines, and no complaint that drawing takes long.
_PATIENT = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", _PATIENT, derandomize=True)
settings.register_profile("explore", _PATIENT, derandomize=False)
settings.load_profile("fixed")

LONGEST = (
    "tests/cluster/pools",
    "tests/cluster/",
    "tests/images/",
    "tests/sandbox/",
    "tests/fuzz/",
    "tests/net/",
    "tests/downloader/",
)
"""Begun first, in this order, by a run in several processes: they wait most, and the others fill the time."""
WHOLE = ("tests/cluster/policies",)
"""Folders that stay in one process, for their files share a control plane."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the answers of golden requests instead of checking")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _turn(item.nodeid))


def _turn(nodeid: str) -> int:
    return next((turn for turn, start in enumerate(LONGEST) if nodeid.startswith(start)), len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """A file stays in one process, with the servers and control planes that its tests share."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((folder for folder in WHOLE if file.startswith(f"{folder}/")), file)

    config.option.loadscopereorder = False  # the order is that of the collection
    return Files(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each reason of skipping, wherever the tests are."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count:4} {reason}")
