"""Options shared by all tests.

Property tests draw the same examples at each run, so a change is refused for its own faults only. New examples are
looked for by `make explore`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault: no deadlines, and no complaint that drawing takes long.
_PATIENT = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", _PATIENT, derandomize=True)
settings.register_profile("explore", _PATIENT, derandomize=False)
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the answers of golden requests instead of checking")
