"""Command line of the operator: `python -m app serve | agent | crds`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import yaml

from app.log import set_up
from app.settings import SettingsError, read_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the process's."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except SettingsError as error:
        print(f"wrong settings: {error}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inference-operator", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="answer Metacontroller's hooks over HTTP")
    serve.add_argument("--host", default="", help="address to listen on (default: all, IPv4 and IPv6)")
    serve.add_argument("--port", type=int, default=8080, help="port to listen on (default: 8080)")
    serve.add_argument(
        "--probes-port",
        type=int,
        help="another port for /healthz, /readyz and /metrics, without the hooks (default: none; --port has them too)",
    )
    serve.set_defaults(run=run_serve)

    agent = commands.add_parser(
        "agent",
        help="watch pods: count GPUs in use, report failures, give gated pods their nodes",
        description="Watch pods, and write what they hold and why they fail into GPUNodes and GPURequests; give gated "
        "pods the nodes of their GPUAllocation. Any number of replicas may run: one leads. Settings come from the "
        "environment, as for serve.",
    )
    agent.add_argument(
        "--kubeconfig", type=Path, help="default: $KUBECONFIG, the pod's service account, ~/.kube/config"
    )
    agent.add_argument("--namespace", default="inference-system", help="of its Lease (default: inference-system)")
    agent.add_argument("--host", default="", help="address of /healthz, /readyz, /metrics (default: all)")
    agent.add_argument("--port", type=int, default=8081, help="their port (default: 8081)")
    agent.set_defaults(run=run_agent)

    crds = commands.add_parser("crds", help="write the CustomResourceDefinitions, one file a kind")
    crds.add_argument("directory", nargs="?", type=Path, default=Path("crds"), help="default: crds")
    crds.add_argument("--check", action="store_true", help="write nothing; fail when a file is not up to date")
    crds.set_defaults(run=run_crds)
    return parser


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM. Settings come from the environment, see app/settings.py."""
    settings = read_settings()  # what is wrong with them is said before anything else
    set_up(settings.log_level, settings.log_format)
    from app.main import app
    from app.serving.server import ListenError, listen, run

    with ExitStack() as sockets:
        try:
            hooks = sockets.enter_context(listen(arguments.host, arguments.port))
            apart = arguments.probes_port
            probes = None if apart is None else sockets.enter_context(listen(arguments.host, apart))
        except ListenError as error:
            print(error, file=sys.stderr)
            return 2
        run(app, hooks, probes)
    return 0


def run_agent(arguments: argparse.Namespace) -> int:
    """Observe and bind until SIGTERM."""
    settings = read_settings()
    from app.agent.io.access import StartError
    from app.agent.io.main import Options, run_agent

    try:
        run_agent(Options(arguments.kubeconfig, arguments.namespace, arguments.host, arguments.port), settings)
    except StartError as error:
        print(f"the agent cannot start: {error}", file=sys.stderr)
        return 1
    return 0


def run_crds(arguments: argparse.Namespace) -> int:
    """Write crds/, or with --check say which files are stale."""
    from app.hooks.kinds import KINDS

    files = {f"{kind.plural}.yaml": _yaml(kind.to_manifest()) for kind in KINDS}
    files["kustomization.yaml"] = _kustomization(sorted(files))
    if not arguments.check:
        try:
            arguments.directory.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (arguments.directory / name).write_text(text)
        except OSError as error:
            print(f"cannot write {error.filename or arguments.directory}: {error.strerror or error}", file=sys.stderr)
            return 1
        return 0
    stale = [name for name, text in files.items() if _read(arguments.directory / name) != text]
    if stale:
        print(
            f"not up to date: {', '.join(stale)}; run `python -m app crds {arguments.directory}`",
            file=sys.stderr,
        )
    return 1 if stale else 0


def _kustomization(resources: list[str]) -> str:
    return _yaml({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources})


def _yaml(document: object) -> str:
    text = yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)
    return f"# Generated by `python -m app crds`; edit the pydantic specs instead.\n{text}"


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
