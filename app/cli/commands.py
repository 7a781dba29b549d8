"""The two commands: from arguments to output and exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace

import yaml
from rich.console import Console

from app.cli.batch import answer_lines, build_world, parse_weight_bytes, read_config
from app.cli.errors import CliError
from app.cli.files import STDIN, read_json, read_mapping, read_objects, read_settings
from app.cli.judge import judge
from app.cli.render import render
from app.cli.replay import find_differences, replay
from app.cli.service import find_service
from app.cli.verdict import Outcome, Verdict, to_json
from app.cli.world import World
from app.kube.manifest import Manifest
from app.topology.config import Unreadable

EXIT_CODES = {Outcome.FIT: 0, Outcome.PENDING: 1, Outcome.IMPOSSIBLE: 3, Outcome.UNKNOWN: 4}
WRONG_USE = 2
DIFFERS = 1


def run_plan(arguments: argparse.Namespace) -> int:
    if arguments.batch:
        return _run_batch(arguments)
    world, weight_bytes = _world(arguments)
    verdict = judge(world, weight_bytes)
    _show(verdict, world, arguments.output)
    return EXIT_CODES[verdict.outcome]


def _run_batch(arguments: argparse.Namespace) -> int:
    """Lines are answered as they come; a bad one does not stop the others."""
    given = {"--nodes": arguments.nodes, "--model-config": arguments.model_config, "-n": arguments.namespace}
    misplaced = [name for name, value in given.items() if value]
    if misplaced or arguments.weights_bytes is not None:
        raise CliError(f"{(misplaced or ['--weights-bytes'])[0]} goes with -f: a batch has it in each line")
    settings, good = read_settings(arguments.settings), True
    try:
        stream = sys.stdin if arguments.batch == STDIN else arguments.batch.open()
        with stream:
            for line, answered in answer_lines(stream, settings):
                print(line, flush=stream is sys.stdin)
                good = good and answered
    except UnicodeDecodeError:
        raise CliError(f"{arguments.batch} is not text in UTF-8") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CliError(f"{arguments.batch} cannot be read: {error.strerror or error}") from None
    return 0 if good else WRONG_USE


def _world(arguments: argparse.Namespace) -> tuple[World, int | None]:
    weight_bytes = _weight_bytes(arguments.weights_bytes)
    objects = read_objects(arguments.filename)
    service, settings = find_service(objects, str(arguments.filename)), read_settings(arguments.settings)
    config = read_mapping(arguments.model_config) if arguments.model_config else None
    if arguments.nodes:
        nodes = [node for path in arguments.nodes for node in read_objects(path)]
        world = build_world(service, nodes, config, weight_bytes, settings, arguments.namespace)
        return replace(world, caches=_caches(objects, world)), weight_bytes
    from app.cli.cluster import Cluster
    from app.cli.live import read_world

    cluster = Cluster.connect(arguments.kubeconfig, arguments.context)
    world = read_world(cluster, service, settings, arguments.namespace)
    world = replace(world, caches={**_caches(objects, world), **world.caches})
    if config is None:
        return world, weight_bytes
    facts = read_config(config, weight_bytes)
    is_unreadable = isinstance(facts, Unreadable)
    known = {"unreadable": facts.reason} if is_unreadable else {"model": facts}
    return replace(world, **known), weight_bytes


def _weight_bytes(given: int | None) -> int | None:
    try:
        return parse_weight_bytes(given)
    except CliError:
        raise CliError("--weights-bytes must be a number of bytes, 1 or more") from None


def _caches(objects: Iterable[Manifest], world: World) -> dict[str, Manifest]:
    """ModelCaches of the same file: they name the model. They are in the service's namespace, or are not its own."""
    found = {}
    for item in objects:
        metadata = item.get("metadata")
        if item.get("kind") == "ModelCache" and isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
            namespace = metadata.get("namespace") or world.parent.namespace
            found[f"{namespace}/{metadata['name']}"] = item
    return found


def _show(verdict: Verdict, world: World, output: str) -> None:
    if output == "json":
        print(json.dumps(to_json(verdict), indent=2))
        return
    console = Console(highlight=False)
    render(verdict, f"InferenceService {world.key}", console)


def run_replay(arguments: argparse.Namespace) -> int:
    settings, differs = read_settings(arguments.settings), False
    for path in arguments.files:
        content = read_json(path)
        if not isinstance(content, dict):
            raise CliError(f"{path} holds no sync request, which is a JSON object")
        try:
            answer = replay(content, settings)
        except CliError as error:
            raise CliError(f"{path}: {error}") from None
        if arguments.diff:
            lines = list(find_differences(content, answer))
            differs = differs or bool(lines)
            for line in lines or ["nothing differs"]:
                print(f"{path}: {line}" if len(arguments.files) > 1 else line)
        elif arguments.output == "json":
            print(json.dumps(answer, indent=2))
        else:
            print(f"---\n{yaml.safe_dump(answer, sort_keys=False, width=110, allow_unicode=True)}", end="")
    return DIFFERS if differs else 0
