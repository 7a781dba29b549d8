"""The operator as deploy/ installs it: `python -m tools.sandbox.deployed kind-up | kind-test | kind-down | ...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.sandbox.binaries import BinariesMissingError
from tools.sandbox.deployed import gpu, kind
from tools.sandbox.deployed.collect import collect
from tools.sandbox.deployed.kubectl import CommandError, Kubectl
from tools.sandbox.deployed.samples import SamplesError, check_samples
from tools.sandbox.process import ProcessFailedError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the process's."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except (BinariesMissingError, CommandError, SamplesError, ProcessFailedError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.sandbox.deployed", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("kind-up", kind_up, "a cluster of containers, with everything installed (needs Docker)"),
        ("kind-test", kind_test, "the samples become Ready there, and go without a trace"),
        ("kind-down", kind_down, "remove it"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    up = commands.add_parser("gpu-up", help="install everything on the cluster that $KUBECONFIG names")
    up.add_argument("--registry", required=True, help="where the four images are")
    up.add_argument("--tag", required=True, help="their tag")
    up.set_defaults(run=gpu_up)
    test = commands.add_parser("gpu-test", help="serve, ask and measure models there")
    test.add_argument("--profile", action="append", choices=gpu.profiles(), help="default: all; may be repeated")
    test.add_argument("--results", type=Path, default=gpu.FOLDER / "results", help="folder for figures and plots")
    test.set_defaults(run=gpu_test)
    commands.add_parser("gpu-down", help="remove what gpu-up installed").set_defaults(run=gpu_down)
    return parser


def kind_up(_: argparse.Namespace) -> None:
    try:
        kind.up()
    except CommandError:
        if kind.KUBECONFIG.exists():
            _collect(Kubectl.find(kind.KUBECONFIG), kind.FOLDER)
        raise


def kind_test(_: argparse.Namespace) -> None:
    if not kind.KUBECONFIG.exists():
        raise CommandError("there is no cluster; `make kind-up` makes it")
    kubectl = Kubectl.find(kind.KUBECONFIG)
    with kind.fake_nodes(kubectl):
        try:
            check_samples(kubectl)
        except (CommandError, SamplesError):
            _collect(kubectl, kind.FOLDER)
            raise


def kind_down(_: argparse.Namespace) -> None:
    kind.down()


def gpu_up(arguments: argparse.Namespace) -> None:
    try:
        gpu.up(arguments.registry, arguments.tag)
    except CommandError:
        _collect(Kubectl.find(), gpu.FOLDER)
        raise


def gpu_test(arguments: argparse.Namespace) -> int:
    """Every profile is tried, whatever became of the others."""
    failed = [it for it in arguments.profile or gpu.profiles() if not _try_profile(it, arguments.results)]
    if failed:
        print(f"error: {', '.join(failed)}: not as expected", file=sys.stderr)
    return 1 if failed else 0


def _try_profile(profile: str, results: Path) -> bool:
    try:
        return gpu.check_service(profile, results)
    except (CommandError, SamplesError, ProcessFailedError) as error:
        print(f"error: {profile}: {error}", file=sys.stderr)
        return False


def gpu_down(_: argparse.Namespace) -> int:
    failures = gpu.down()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _collect(kubectl: Kubectl, folder: Path) -> None:
    print(f"logs, events and objects: {collect(kubectl, folder / 'logs')}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
