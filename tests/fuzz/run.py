"""Drawing requests until the time is over. The seed of each round is printed, and repeats it exactly."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning

from tests.fuzz.promises import keep_promises
from tests.fuzz.requests import requests
from tests.golden.replay import case_name, kind_of

FAILURES = Path(".hypothesis") / "fuzz"

ROUND = 200
"""Requests of one seed: a round takes a few seconds, so the clock is looked at often."""


class BrokenPromiseError(AssertionError):
    """The message has the seed, the error and the file with the request."""


def fuzz(first_seed: int, seconds: float, report: Callable[[str], None] = print) -> int:
    """Requests that were answered as promised, in rounds of consecutive seeds; the first broken promise is raised."""
    end, number, count = time.monotonic() + seconds, first_seed, 0
    while time.monotonic() < end:
        report(f"seed {number}: {count} requests so far")
        count += _round(number)
        number += 1
    return count


def _round(number: int) -> int:
    asked = 0
    last: Any = None

    @seed(number)
    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(drawn=requests())
    def one(drawn: tuple[Path, dict[str, Any]]) -> None:
        nonlocal asked, last
        asked, last = asked + 1, drawn
        keep_promises(*drawn)

    try:
        with warnings.catch_warnings():
            # Hypothesis tells how long the text of a failing request is. The request goes into a file.
            warnings.simplefilter("ignore", HypothesisWarning)
            one()
    except Exception as error:
        path, request = last
        FAILURES.mkdir(parents=True, exist_ok=True)
        file = FAILURES / f"{kind_of(path)}-{number}.request.json"
        file.write_bytes(orjson.dumps(request, option=orjson.OPT_INDENT_2))
        where = "".join(traceback.format_tb(error.__traceback__)[-4:])
        message = f"seed {number}: {error!r:.500}\n{where}The smallest such request, of {case_name(path)}, is in {file}"
        raise BrokenPromiseError(message) from None
    return asked
