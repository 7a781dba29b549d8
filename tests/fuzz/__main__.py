"""Command line of `make fuzz`."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from tests.fuzz.run import ROUND, fuzz


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default: 20)")
    parser.add_argument("--seed", type=int, help="of the first round (default: by chance); it is printed")
    arguments = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**9) if arguments.seed is None else arguments.seed
    print(f"hostile requests for {arguments.minutes:g} minutes from seed {seed}, {ROUND} a round", flush=True)
    count = fuzz(seed, arguments.minutes * 60, lambda line: print(line, flush=True))
    print(f"{count} requests: no error, no child elsewhere, no request beyond its bound")
    return 0


if __name__ == "__main__":
    sys.exit(main())
