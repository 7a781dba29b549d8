"""Arguments of `kubectl inference`, and the help that it prints."""

from __future__ import annotations

import argparse

_EXIT_CODES = """
exit codes:
  0  fit: it gets its GPUs, and the model fits them
  1  an input cannot be used, or the cluster cannot be read
  2  wrong arguments
  3  pending: the hardware could hold it, and is in use, ill or tainted
  4  impossible: none of the nodes could ever hold it as asked, or there is no such pool
  5  unknown: no nodes, or nothing is known of the model
Of several services the worst counts: impossible, pending, unknown, fit. With --batch: 0, or 1 when a line was no use.
"""
_PLAN = (
    """\
examples:
  kubectl inference plan -f service.yaml                          on the cluster as it is now
  kubectl inference plan -f service.yaml --nodes nodes.yaml       on nodes of a file, without a cluster
  kubectl inference plan -f service.yaml --model-config config.json --weights-bytes 141107412992
  kubectl inference plan -f - -o json < service.yaml | jq .outcome
  kubectl inference plan --batch requests.jsonl > answers.jsonl   {"service", "nodes", "modelConfig", "weightsBytes"}
"""
    + _EXIT_CODES
)
_REPLAY = """\
examples:
  kubectl inference replay 0001.json                   children and status that today's operator answers
  kubectl inference replay -o json recording/inferenceservice/*/*.json
  kubectl inference replay --diff 0001.json            only what would change

The clock of a replay is the newest time in the request. Settings are read from INFERENCE_..., as the operator does.
exit codes: 0; with --diff 3 when something would change; 1 when a file cannot be used; 2 for wrong arguments.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl inference", description="Plan LLM inference services on AMD GPUs before they are applied."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_plan(commands)
    _add_replay(commands)
    return parser


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = commands.add_parser(
        "plan",
        help="does it fit, where does it go, and what would it restart",
        description="Say what would become of an InferenceService: whether it fits, where it goes and why, and what "
        "a change would restart. Nothing is applied. The operator's own code decides.",
        epilog=_PLAN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = plan.add_mutually_exclusive_group(required=True)
    what.add_argument("-f", "--filename", metavar="FILE", help="InferenceServices, with their ModelCaches; - for stdin")
    what.add_argument("--batch", metavar="FILE", help="JSON lines, one question each; - for stdin; reads no cluster")
    plan.add_argument("--nodes", metavar="FILE", help="Nodes (`kubectl get nodes -o yaml`) instead of the cluster")
    plan.add_argument("--model-config", metavar="FILE", help="the model's config.json; goes before what is known of it")
    plan.add_argument("--weights-bytes", type=int, metavar="N", help="size of all weight files in bytes")
    plan.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    plan.add_argument("-n", "--namespace", help="of services that name none (default: that of the context)")
    plan.add_argument("--context", help="context of the kubeconfig (default: the current one)")
    plan.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, else ~/.kube/config")


def _add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    replay = commands.add_parser(
        "replay",
        help="answer a recorded sync request with today's operator",
        description="Answer recorded sync requests as today's operator would, offline.",
        epilog=_REPLAY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    replay.add_argument("files", nargs="+", metavar="FILE", help="bodies of sync requests, as JSON; - for stdin")
    replay.add_argument("--kind", help="for requests that do not tell it: inferenceservice, gpupool, ...")
    replay.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="default: yaml")
    replay.add_argument("--diff", action="store_true", help="only what would change, against what was observed")


def find_conflict(arguments: argparse.Namespace) -> str:
    """Why these arguments do not go together, "" when they do."""
    if arguments.command != "plan":
        return ""
    if arguments.batch is not None:
        beside = [name for name in ("nodes", "model_config", "weights_bytes") if getattr(arguments, name) is not None]
        names = ", ".join(f"--{name.replace('_', '-')}" for name in beside)
        return f"{names}: with --batch each line says this itself" if beside else ""
    from_stdin = [arguments.filename, arguments.nodes, arguments.model_config].count("-")
    return "only one file can come from standard input" if from_stdin > 1 else ""
