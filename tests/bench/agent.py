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

from app.agent.io.session import decide
from app.agent.patch import Patch, Target
from app.agent.snapshot import GPUNode, Pod, Snapshot, parse_gpu_node, parse_node, parse_pod
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
    snapshot = build_snapshot(arguments.nodes, kept)
    first, seconds = timed(snapshot)
    settled = written(snapshot, first)
    again, idle = timed(settled)
    churned, moved = timed(replace_pods(settled, kept[CHURN:]))
    print(f"machine: {machine()}, {arguments.nodes} GPU nodes, {arguments.pods} pods of others, {len(kept)} with GPUs")
    print(f"pods: {arguments.pods / parsed:8.0f} read a second, peak {peak_mib():4.0f} MiB ({before:.0f} before)")
    print(f"first look:  {seconds * 1000:6.1f} ms, {len(first)} writes")
    print(f"idle look:   {idle * 1000:6.1f} ms, {len(again)} writes")
    print(f"{CHURN} pods less: {moved * 1000:6.1f} ms, {len(churned)} writes")
    return 0


def timed(snapshot: Snapshot) -> tuple[list[Patch], float]:
    begun = time.process_time()
    patches = decide(snapshot)
    return patches, time.process_time() - begun


def foreign_pod(number: int, nodes: int) -> dict[str, Any]:
    gpus = 1 if number % 8 == 0 else 0
    return pod(f"p{number}", gpus=gpus, node=f"n{number % nodes}", phase="Running")


def build_snapshot(nodes: int, pods: Sequence[Pod]) -> Snapshot:
    names = [f"n{it}" for it in range(nodes)]
    return Snapshot(
        pods={it.key: it for it in pods},
        nodes={("", name): parse_node(node(name)) for name in names},
        gpu_nodes={("", name): parse_gpu_node(gpu_node(name)) for name in names},
        requests={},
        allocations={},
        pools={},
    )


def written(snapshot: Snapshot, patches: Sequence[Patch]) -> Snapshot:
    """After the API server took the statuses of nodes."""
    bodies = {patch.key: patch.body["status"] for patch in patches if patch.target is Target.GPU_NODE}
    nodes: dict[tuple[str, str], GPUNode] = {
        key: replace(fact, status={**fact.status, **bodies.get(key, {})}) for key, fact in snapshot.gpu_nodes.items()
    }
    return Snapshot(snapshot.pods, snapshot.nodes, nodes, snapshot.requests, snapshot.allocations, snapshot.pools)


def replace_pods(snapshot: Snapshot, pods: Sequence[Pod]) -> Snapshot:
    fresh = {it.key: it for it in pods}
    return Snapshot(fresh, snapshot.nodes, snapshot.gpu_nodes, snapshot.requests, snapshot.allocations, snapshot.pools)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
