"""`python -m tests.bench.agent`: the agent's decisions in a large cluster full of other people's pods.

Measured is the pure part: facts from the JSON of pods as the API server sends them, and the patches that follow, on
1,000 GPU nodes with 20,000 pods of others of which every eighth holds a GPU. Watches and writes are not. Figures are of
this machine only.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from app.agent.decide import decide
from app.agent.facts import GPUNode, Pod, World, parse_gpu_node, parse_node, parse_pod
from app.agent.patch import Patch, Target
from tests.agent.build import GPU, gpu_node, node, pod
from tests.bench.__main__ import machine

CHURN = 100
"""Pods that start or end in a minute."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.agent", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000, help="GPU nodes (default: 1000)")
    parser.add_argument("--pods", type=int, default=20000, help="pods of others (default: 20000)")
    arguments = parser.parse_args(argv)
    before = peak_mib()
    texts = [orjson.dumps(foreign_pod(it, arguments.nodes)) for it in range(arguments.pods)]
    begun = time.process_time()
    kept = [fact for text in texts if (fact := parse_pod(orjson.loads(text), GPU)) is not None]
    parsed = time.process_time() - begun
    world = build_world(arguments.nodes, kept)
    first, seconds = timed(world)
    settled = written(world, first)
    again, idle = timed(settled)
    churned, moved = timed(replace_pods(settled, kept[CHURN:]))
    print(f"machine: {machine()}, {arguments.nodes} GPU nodes, {arguments.pods} pods of others, {len(kept)} with GPUs")
    print(f"pods: {arguments.pods / parsed:8.0f} read a second, peak {peak_mib():4.0f} MiB ({before:.0f} before)")
    print(f"first look:  {seconds * 1000:6.1f} ms, {len(first)} writes")
    print(f"idle look:   {idle * 1000:6.1f} ms, {len(again)} writes")
    print(f"{CHURN} pods less: {moved * 1000:6.1f} ms, {len(churned)} writes")
    return 0


def timed(world: World) -> tuple[list[Patch], float]:
    begun = time.process_time()
    patches = decide(world)
    return patches, time.process_time() - begun


def foreign_pod(number: int, nodes: int) -> dict[str, Any]:
    gpus = 1 if number % 8 == 0 else 0
    return pod(f"p{number}", gpus=gpus, node=f"n{number % nodes}", phase="Running")


def build_world(nodes: int, pods: Sequence[Pod]) -> World:
    names = [f"n{it}" for it in range(nodes)]
    return World(
        pods={it.key: it for it in pods},
        nodes={("", name): parse_node(node(name)) for name in names},
        gpu_nodes={("", name): parse_gpu_node(gpu_node(name)) for name in names},
        requests={},
        allocations={},
        pools={},
    )


def written(world: World, patches: Sequence[Patch]) -> World:
    """After the API server took the statuses of nodes."""
    bodies = {patch.key: patch.body["status"] for patch in patches if patch.target is Target.GPU_NODE}
    nodes: dict[tuple[str, str], GPUNode] = {
        key: replace(fact, status={**fact.status, **bodies.get(key, {})}) for key, fact in world.gpu_nodes.items()
    }
    return World(world.pods, world.nodes, nodes, world.requests, world.allocations, world.pools)


def replace_pods(world: World, pods: Sequence[Pod]) -> World:
    fresh = {it.key: it for it in pods}
    return World(fresh, world.nodes, world.gpu_nodes, world.requests, world.allocations, world.pools)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
