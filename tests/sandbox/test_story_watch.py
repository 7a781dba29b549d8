"""A step that waits in vain says what for, and what it saw last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from tools.sandbox.node.world import World
from tools.sandbox.story.watch import StepFailedError, wait_for


class Running:
    """A world in which nothing has died."""

    def check(self) -> None:
        pass


WORLD = cast("Any", Running())


def looks(*seen: tuple[bool, str]) -> Any:
    answers: Iterator[tuple[bool, str]] = iter(seen)
    last = seen[-1]
    return lambda: next(answers, last)


def test_what_changes_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.sandbox.story.watch.PERIOD_SECONDS", 0.01)
    told: list[str] = []
    wait_for(cast("World", WORLD), "it", looks((False, "a"), (False, "a"), (False, "b"), (True, "c")), 60, told.append)
    assert [line.split()[-1] for line in told] == ["a", "b", "c"]


def test_in_vain_says_what_for_and_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.sandbox.story.watch.PERIOD_SECONDS", 0.01)
    with pytest.raises(StepFailedError, match=r"waited 0 s for: pods are gone. Saw: 2 pods"):
        wait_for(cast("World", WORLD), "pods are gone", looks((False, "2 pods")), 0.05, lambda _: None)


def test_a_program_that_died_ends_the_wait() -> None:
    class Dead(Running):
        def check(self) -> None:
            raise RuntimeError("kubelet ended")

    with pytest.raises(RuntimeError, match="kubelet ended"):
        wait_for(cast("Any", Dead()), "it", looks((False, "")), 60, lambda _: None)
