"""A real control plane here, and the operator on it: `python -m tools.sandbox demo | up | build | get | clean`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console

from tools.sandbox.api import Api, ApiError, Object, UnknownResourceError
from tools.sandbox.binaries import BinariesMissingError, ensure_binaries
from tools.sandbox.cluster import Cluster
from tools.sandbox.demo import run_samples
from tools.sandbox.node.machine import NodeError, clean_up, only_one, remove_cache
from tools.sandbox.node.packages import find_obstacle
from tools.sandbox.operator import Operator
from tools.sandbox.process import ProcessFailedError
from tools.sandbox.story.demo import run_story

CONSOLE = Console(highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the process's."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except (BinariesMissingError, NodeError, ProcessFailedError, TimeoutError, ApiError, UnknownResourceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.sandbox", description=__doc__, epilog=ENVIRONMENT)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="apply the samples and watch them become Ready")
    demo.add_argument("--exit", action="store_true", help="end when all are Ready (status 0), or not in time (1)")
    demo.add_argument("--real", action="store_true", help="on a real node with real vLLM instead (Linux, root)")
    demo.set_defaults(run=run_demo)

    clean = commands.add_parser("clean", help="remove what a real node left when it was killed")
    clean.add_argument("--cache", action="store_true", help="and the images, about 20 GB")
    clean.set_defaults(run=run_clean)

    up = commands.add_parser("up", help="the operator on an empty cluster, until Ctrl-C")
    up.set_defaults(run=run_up)
    for command in (demo, up):
        command.add_argument("--nodes", type=int, default=4, help="fake MI300X nodes of 8 GPUs (default: 4)")
        command.add_argument("--without-lws", action="store_true", help="as on a cluster without LeaderWorkerSet")
        command.add_argument("--timeout", type=float, default=300, help="seconds to wait (default: 300)")
        command.add_argument("--keep", action="store_true", help="keep the folder with logs and data")
        command.add_argument("--record", type=Path, metavar="FOLDER", help="keep every sync request there, as JSON")

    build = commands.add_parser("build", help="only find or build the control plane's programs")
    build.set_defaults(run=run_build)

    get = commands.add_parser("get", help="print objects as YAML, where kubectl is not at hand")
    get.add_argument("kind", help="kind or plural, for example InferenceService or pods")
    get.add_argument("name", nargs="?", help="one object; absent: all, by name")
    get.add_argument("-n", "--namespace", default="inference-system", help="default: inference-system")
    get.set_defaults(run=run_get)
    return parser


ENVIRONMENT = (
    "Environment: KUBEBUILDER_ASSETS (folder with etcd, kube-apiserver, ...), METACONTROLLER (its binary; else a "
    "stand-in), LWS_MANAGER and LWS_CONFIG (LeaderWorkerSet's manager and its config folder; else its status "
    "is played)."
)


def run_demo(arguments: argparse.Namespace) -> int:
    """Status 0 when all samples became Ready, or all steps of the story succeeded."""
    if arguments.real:
        return run_real_demo(arguments)
    with _running(arguments) as operator:
        ready = run_samples(operator.cluster, operator, CONSOLE, arguments.timeout)
        arguments.keep |= not ready  # the logs say why
        if not arguments.exit:
            _look_around(operator, "InferenceService llama2-7b-service")
            _wait(operator)
        return 0 if ready else 1


def run_real_demo(arguments: argparse.Namespace) -> int:
    if obstacle := find_obstacle():
        print(f"error: {obstacle}", file=sys.stderr)
        return 1
    return 0 if run_story(CONSOLE, stay=not arguments.exit) else 1


def run_clean(arguments: argparse.Namespace) -> None:
    with only_one():
        clean_up()
        if arguments.cache:
            remove_cache()


def run_up(arguments: argparse.Namespace) -> None:
    with _running(arguments) as operator:
        _look_around(operator, "GPUPool default")
        _wait(operator)


def run_build(_: argparse.Namespace) -> None:
    for name, path in ensure_binaries(CONSOLE.print).items():
        print(f"{name}\t{path}")


def run_get(arguments: argparse.Namespace) -> int:
    """Ask the API server that $KUBECONFIG names."""
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        print("error: set KUBECONFIG as the demo prints it", file=sys.stderr)
        return 2
    api = Api.from_kubeconfig(Path(kubeconfig))
    try:
        print(_found(api, arguments.kind, arguments.name, arguments.namespace), end="")
    finally:
        api.close()
    return 0


def _found(api: Api, kind: str, name: str | None, namespace: str) -> str:
    resource = api.find_resource(kind)
    where = namespace if resource.namespaced else None
    if name is None:
        items, _ = api.list(resource, where)
        return "".join(f"{item['metadata']['name']}\n" for item in items)
    found: Object | None = api.get(resource, name, where)
    if found is None:
        raise ApiError(404, "NotFound", f"{kind} {name} does not exist in namespace {namespace}")
    found["metadata"].pop("managedFields", None)
    return yaml.safe_dump(found, sort_keys=False)


@contextmanager
def _running(arguments: argparse.Namespace) -> Iterator[Operator]:
    directory = Path(tempfile.mkdtemp(prefix="inference-sandbox-"))
    lws = not arguments.without_lws
    try:
        with (
            Cluster.start(directory, nodes=arguments.nodes, lws=lws, report=CONSOLE.print) as cluster,
            Operator.start(cluster, lws=lws, record=arguments.record) as operator,
        ):
            kind = "Metacontroller" if operator.metacontroller.is_real else "a stand-in for Metacontroller"
            CONSOLE.print(f"the operator runs with {kind}")
            yield operator
    finally:
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)


def _look_around(operator: Operator, example: str) -> None:
    """`example`: kind and name of an object that is there."""
    python = Path(sys.executable)
    python = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    CONSOLE.print("\nLook around from another terminal; Ctrl-C here ends everything:")
    CONSOLE.print(f"  export KUBECONFIG={operator.cluster.kubeconfig}", soft_wrap=True)
    if shutil.which("kubectl"):
        CONSOLE.print("  kubectl get amd-inference,amd-gpus -A")
    CONSOLE.print(f"  {python} -m tools.sandbox get {example}", soft_wrap=True)


def _wait(operator: Operator) -> None:
    while True:
        operator.check()
        operator.cluster.check()
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
