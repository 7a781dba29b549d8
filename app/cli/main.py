"""`kubectl inference plan` and `kubectl inference replay`: arguments, output and exit codes.

kubectl finds the program `kubectl-inference` on the PATH and runs it as `kubectl inference`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.cli.commands import WRONG_USE, run_plan, run_replay
from app.cli.errors import CliError

_PLAN = """\
Show what the operator would decide about an InferenceService, by its own code: whether the model fits, which GPUs it
gets and why not others, and what applying it would restart. Nothing is written anywhere. Without --nodes the cluster of
the current kubeconfig context is read."""
_PLAN_MORE = """\
examples:
  kubectl inference plan -f service.yaml                       in the current cluster, beside all that runs
  kubectl inference plan -f service.yaml --nodes nodes.yaml    without a cluster: nodes of `kubectl get nodes -o yaml`
  kubectl inference plan -f service.yaml --nodes nodes.yaml --model-config config.json --weights-bytes 16381470720
  kubectl inference plan --batch requests.jsonl                one JSON object a line in, one a line out

exit codes:
  0  it fits (a batch: every line has an answer)
  1  it would wait for GPUs that are in use
  2  wrong use, a file or cluster that cannot be read, a spec that admission would refuse (a batch: some line was bad)
  3  it can never run there as it is written
  4  not known: nothing is known of the model, or there are no nodes"""
_REPLAY = """\
Answer captured sync requests again, by the hook of their kind and without a cluster. A request is the JSON that
Metacontroller posts to a hook; the kind is that of its parent. The moment is the newest time in the request."""
_REPLAY_MORE = """\
examples:
  kubectl inference replay 0007.json                    children and status as YAML
  kubectl inference replay --diff 0007.json 0008.json   what the hook would change of what was observed
  kubectl inference replay --settings settings.env -o json -  <request.json

exit codes:
  0  answered (with --diff: nothing differs)
  1  with --diff: something differs
  2  wrong use, or a file that is no sync request"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the process's."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl inference", description="Ask the inference operator's own code, without writing anything."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_plan(commands)
    _add_replay(commands)
    return parser


def _add_plan(commands: Any) -> None:
    plan = commands.add_parser(
        "plan",
        help="what would be decided about an InferenceService",
        description=_PLAN,
        epilog=_PLAN_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = plan.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "-f",
        "--filename",
        type=Path,
        metavar="FILE",
        help="the InferenceService, and its ModelCache; -: stdin",
    )
    source.add_argument("--batch", type=Path, metavar="FILE", help="JSON Lines to answer, one a line; -: stdin")
    plan.add_argument(
        "--nodes",
        type=Path,
        action="append",
        metavar="FILE",
        help="plan on the Nodes of this file instead of a cluster; may be given several times",
    )
    plan.add_argument("--model-config", type=Path, metavar="FILE", help="config.json of the model; it wins")
    plan.add_argument("--weights-bytes", type=int, metavar="N", help="bytes of all weight files together")
    plan.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    plan.add_argument("-n", "--namespace", default="", help="default: the file's, else that of the context")
    plan.add_argument("--context", help="context of the kubeconfig; default: the current one")
    plan.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: KUBECONFIG, else ~/.kube/config")
    _add_settings(plan)
    plan.set_defaults(run=run_plan)


def _add_replay(commands: Any) -> None:
    command = commands.add_parser(
        "replay",
        help="answer captured sync requests again",
        description=_REPLAY,
        epilog=_REPLAY_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a captured request; -: stdin")
    command.add_argument("--diff", action="store_true", help="print only what differs from what was observed")
    command.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="default: yaml")
    _add_settings(command)
    command.set_defaults(run=run_replay)


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings of the operator, such as deploy/base/settings.env; default: INFERENCE_* of the environment",
    )


if __name__ == "__main__":
    sys.exit(main())
