"""python -m tools.sandbox.standin --kubeconfig FILE [--workers N]"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tools.sandbox.api import Api
from tools.sandbox.standin.manager import Manager


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.sandbox.standin", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="a kubeconfig with a token and an inline CA")
    parser.add_argument("--workers", type=int, default=5, help="syncs at a time, per controller (default: %(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    Manager(Api.from_kubeconfig(options.kubeconfig, user_agent="metacontroller-standin"), options.workers).run()


if __name__ == "__main__":
    main()
