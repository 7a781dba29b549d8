"""`python real_parser.py < LISTS`, run by vLLM's own venv: what its parser says to each list of arguments (JSON)."""

from __future__ import annotations

import contextlib
import io
import json
import sys


def main() -> None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    verdicts = []
    for arguments in json.load(sys.stdin):
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                parser.parse_args(arguments)
            verdicts.append("")
        except SystemExit:
            verdicts.append(said.getvalue().strip().splitlines()[-1])
        except Exception as error:
            verdicts.append(f"{type(error).__name__}: {error}"[:300])
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
