"""When something is tried again, and after how many tries without progress the pauses are the short ones again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app.downloader.classify import changed_error, cut_error, status_error
from app.downloader.errors import DownloadError, Terminated
from app.downloader.retry import StallTimeout


class Counting(StallTimeout):
    """Waits for nothing, and remembers which try each pause came after."""

    attempts: tuple[int, ...] = ()

    def pause(self, failure: DownloadError, attempt: int) -> None:
        self.attempts += (attempt,)


def action(*outcomes: DownloadError | str) -> Callable[[], str]:
    left: Iterator[DownloadError | str] = iter(outcomes)

    def act() -> str:
        outcome = next(left)
        if isinstance(outcome, DownloadError):
            raise outcome
        return outcome

    return act


def test_what_may_pass_is_tried_until_it_succeeds() -> None:
    timeout = Counting(60.0)
    assert timeout.call(action(cut_error("x"), status_error(503, "x"), "here")) == "here"
    assert timeout.attempts == (0, 1)


def test_what_came_makes_the_pauses_short_again() -> None:
    timeout, sizes = Counting(60.0), iter([0, 0, 0, 5, 5, 5, 5])
    assert timeout.call(action(*[cut_error("x")] * 3, "here"), done=lambda: next(sizes)) == "here"
    assert timeout.attempts == (0, 0, 1)


@pytest.mark.parametrize("failure", [status_error(404, "x"), changed_error("x")], ids=["for good", "by its reason"])
def test_what_would_not_help_is_told_at_once(failure: DownloadError) -> None:
    timeout = Counting(60.0)
    with pytest.raises(DownloadError) as caught:
        timeout.call(action(failure), final=frozenset({"SourceChanged"}))
    assert caught.value is failure
    assert timeout.attempts == ()


def test_it_gives_up_with_the_last_failure_when_nothing_came_for_too_long() -> None:
    with pytest.raises(DownloadError, match="ConnectionCut"):
        StallTimeout(0.0).call(action(cut_error("x"), "too late"))


def test_the_word_to_stop_ends_a_pause() -> None:
    timeout = StallTimeout(60.0)
    timeout.stop.set()
    with pytest.raises(Terminated):
        timeout.call(action(cut_error("x"), "too late"))
    assert timeout.trouble == cut_error("x").error
