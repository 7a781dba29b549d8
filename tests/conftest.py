"""Options shared by all tests.

Property tests draw the same examples at each run, so a change is refused for its own faults only. New examples are
looked for by `make explore`.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the answers of golden requests instead of checking")
