"""One real node for the whole story; a step that fails leaves a folder with all that may explain it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.sandbox.node.packages import find_obstacle
from tools.sandbox.node.world import World
from tools.sandbox.story.collect import collect
from tools.sandbox.story.story import Story

FAILURES = Path("build") / "e2e"


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Print a line at once, past pytest's capture."""
    reporter: Any = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    capture: Any = pytestconfig.pluginmanager.get_plugin("capturemanager")

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"    {text}")

    return tell


@pytest.fixture(scope="session")
def story(say: Callable[[str], None]) -> Iterator[Story]:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    with World.start(say) as world:
        yield Story(world, say)


@pytest.fixture
def collected(story: Story, request: pytest.FixtureRequest) -> Iterator[None]:
    """When the test fails, gather before anything is cleaned up."""
    failed_before = request.session.testsfailed
    yield
    if request.session.testsfailed > failed_before:
        folder = FAILURES / f"{time.strftime('%Y%m%d-%H%M%S')}-{request.node.callspec.id}"
        story.tell(f"logs, events and conditions: {collect(story.world, folder)}")
