"""`python -m tests.golden.capture [SCENARIO ...]`: record golden requests, from the real Metacontroller and LWS.

Run it for a new scenario of tests/golden/scenarios, or for all when the requests themselves have changed (another child
kind, another field that the API server defaults). Then `pytest tests/golden --bless`, and review both diffs. Needs
METACONTROLLER, LWS_MANAGER and LWS_CONFIG. Scenarios are played one after the other on one cluster, each in a namespace
of its own; what is random is made plain (tests/golden/plain.py), so a second recording differs little from the first.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.world import API, World
from tests.golden.replay import FOLDER, answer_path
from tests.golden.scenarios import SCENARIOS
from tests.golden.scene import Scenario, Scene, reset
from tools.sandbox.api import ApiError
from tools.sandbox.cluster import Cluster, wait_until
from tools.sandbox.nodes import build_node
from tools.sandbox.operator import Operator

NODES = 4
PROGRAMS = ("METACONTROLLER", "LWS_MANAGER", "LWS_CONFIG")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden.capture", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="names or patterns such as 'cache-*'; absent: all")
    parser.add_argument("--list", action="store_true", help="print the names and leave")
    parser.add_argument("--into", type=Path, default=FOLDER, help="another folder than tests/golden")
    arguments = parser.parse_args()
    chosen = [it for it in SCENARIOS if is_chosen(it.name, arguments.names)]
    if arguments.list:
        print("\n".join(it.name for it in chosen))
        return 0
    if missing := [name for name in PROGRAMS if not os.environ.get(name)]:
        print(f"set {', '.join(missing)}: golden requests come from the real programs", file=sys.stderr)
        return 2
    if not chosen:
        print("no scenario has such a name: see --list", file=sys.stderr)
        return 2
    failed = record(chosen, arguments.into)
    if failed:
        print(f"not recorded: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def is_chosen(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, it) for it in patterns)


def record(chosen: Sequence[Scenario], into: Path) -> list[str]:
    """Play all of them; the names of those that did not come out as told."""
    failed = []
    together = [it for it in chosen if not it.alone]
    for group in ([together] if together else []) + [[it] for it in chosen if it.alone]:
        with running() as stage:
            failed += [it.name for it in group if not played(it, *stage, into)]
    return failed


@contextmanager
def running() -> Iterator[tuple[Operator, Path]]:
    """A cluster with the operator, and the folder where its hook service keeps requests."""
    with tempfile.TemporaryDirectory() as folder:
        directory, requests = Path(folder) / "cluster", Path(folder) / "requests"
        with (
            Cluster.start(directory) as cluster,
            Operator.start(cluster, record=requests, resync_seconds=5) as operator,
        ):
            yield operator, requests


def played(story: Scenario, operator: Operator, requests: Path, into: Path) -> bool:
    """Whether every case was kept. What went wrong is printed, and the next scenario goes on."""
    print(story.name, flush=True)
    begun = time.monotonic()
    world = World(operator, story.namespace)
    with settings_of(operator, story.settings):
        try:
            if not story.alone:
                reset(world, story.nodes, lambda: [build_node(it) for it in range(NODES)])
            world.create_namespace(story.namespace)
            scene = Scene(story, world, requests, into, newest(requests))
            try:
                story.play(scene)
            finally:
                if not story.alone:
                    clear([world, *scene.others])
        except (TimeoutError, ApiError, AssertionError, LookupError):
            traceback.print_exc(limit=-3)
            return False
    forget(into, story.name, scene.kept)
    print(f"  {len(scene.kept)} cases, {time.monotonic() - begun:.0f} s", flush=True)
    return True


def forget(into: Path, name: str, kept: Sequence[Path]) -> None:
    """Cases of the scenario's own folders that it tells no more."""
    for path in into.glob(f"*/{name}/*request.json"):
        if path not in kept:
            print(f"  {path.relative_to(into)} is told no more", flush=True)
            path.unlink()
            answer_path(path).unlink(missing_ok=True)


@contextmanager
def settings_of(operator: Operator, changed: Mapping[str, str]) -> Iterator[None]:
    """Other settings of the hook service while a scenario is played."""
    before = operator.hooks.settings
    if changed:
        operator.hooks.restart(before | {f"INFERENCE_{name.upper()}": str(it) for name, it in changed.items()})
    try:
        yield
    finally:
        if changed:
            operator.hooks.restart(before)


def newest(requests: Path) -> int:
    """Number of the last request so far."""
    return max((int(it.name.partition(".")[0]) for it in requests.glob("*/*/*.json")), default=0)


def clear(worlds: Iterable[World]) -> None:
    """The namespaces go; nothing of them may hold GPUs when the next scenario begins."""
    for world in worlds:
        world.cluster.delete("v1", "Namespace", world.namespace)
    for world in worlds:
        wait_until(lambda world=world: not any(world.all_of(API, kind) for kind in HOLDING), "all GPUs are free")  # type: ignore[misc]


HOLDING = ("InferenceService", "GPURequest", "GPUAllocation")


if __name__ == "__main__":
    sys.exit(main())
