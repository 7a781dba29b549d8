"""The name a program is called by -> its function; an expected failure -> a termination message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from app.contracts.runtime import DRAIN_WORKER, HEALTH_CHECK, MAKE_SSH_KEYS, START_LEADER, START_WORKER
from inference_runtime import drain, health, launch, rank, secret, session
from inference_runtime.failure import EXIT_CONFIGURATION, Failure, report

PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {
    START_LEADER: launch.start_leader,
    START_WORKER: launch.start_worker,
    rank.NAME: rank.start_rank,
    session.NAME: session.run_session,
    HEALTH_CHECK: health.main,
    DRAIN_WORKER: drain.main,
    MAKE_SSH_KEYS: secret.main,
}


def main(argv: Sequence[str]) -> int:
    """Run the program of this name."""
    name = Path(argv[0]).name
    if name not in PROGRAMS:
        print(f"call it by one of these names: {', '.join(PROGRAMS)}", file=sys.stderr)
        return EXIT_CONFIGURATION
    try:
        return PROGRAMS[name](argv[1:])
    except Failure as failure:
        report(failure)
        return failure.code
