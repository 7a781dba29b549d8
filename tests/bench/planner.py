"""`python -m tests.bench.planner`: how fast a pool decides, and how its cost grows.

Placements are of services that come to an empty pool of 8-GPU nodes, mixed in size, sharing and number of pods; a *pool
sync* is the whole hook on a request as Metacontroller sends it: parse, decide, answer, in one process. Figures are of
this machine only.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from app.gpupool import sync
from app.metacontroller.protocol import SyncRequest
from app.scheduling.nodes import Node, NodeRequirements
from app.scheduling.request import ExistingAllocation, PlacementRequest
from app.scheduling.scheduler import allocate, schedule
from app.settings import Settings
from tests.bench.__main__ import machine

API = "inference.ai/v1alpha1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIZES = (100, 1000)
PATIENCE = 600.0
MOST_SHOWN = 20
"""Looks after which a mix is left as it is."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.planner", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES, 10000], help="nodes, and as many requests")
    arguments = parser.parse_args(argv)
    print(f"machine: {machine()}")
    for size in arguments.sizes:
        first, again = time_allocation(size)
        print(
            f"{size:6} nodes and requests: {size / first:8.0f} placements/s/core, "
            f"deciding again {again / size * 1e6:5.0f} us a request"
        )
    for size in [it for it in arguments.sizes if it <= max(SIZES)]:
        seconds, megabytes = time_sync(size)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{size:6} nodes and requests: pool sync {seconds:6.3f} s of {megabytes:5.1f} MB, peak {peak:4.0f} MiB")
    for name, nodes, needs in hostile_mixes():
        seconds, looks, pods = time_look(nodes, needs)
        print(f"{name}: {seconds:5.2f} s of CPU for the worst of {looks} looks, {pods} pods placed")
    return 0


def time_allocation(size: int) -> tuple[float, float]:
    """CPU seconds to place all requests, and to decide again when all is held."""
    nodes, needs = build_nodes(size), build_needs(size)
    begun = time.process_time()
    decisions = allocate(nodes, needs, {}, PATIENCE)
    placed = time.process_time()
    held = {
        need.service: ExistingAllocation(
            need.digest, it.product, it.hosts, need.gpus_per_node, creation_timestamp=need.creation_timestamp
        )
        for need in needs
        if (it := decisions[need.service]).hosts
    }
    held_at = time.process_time()
    allocate(nodes, needs, held, PATIENCE)
    return placed - begun, time.process_time() - held_at


def time_sync(size: int) -> tuple[float, float]:
    """CPU seconds of the hook on a first request, and the megabytes of it."""
    body = orjson.dumps(build_request(size))
    begun = time.process_time()
    response = sync(SyncRequest.model_validate(orjson.loads(body)), Settings(), NOW)
    orjson.dumps({"status": response.status, "children": response.children})
    return time.process_time() - begun, len(body) / 1e6


def hostile_mixes() -> Iterator[tuple[str, list[Node], list[PlacementRequest]]]:
    """Requests that cost most: each found by attack, or by looking for what a look does in vain."""
    thousand = build_nodes(1000)
    requirements = NodeRequirements("amd.com/gpu", ("MI300X",))

    def need(number: int, tenant: str = "b", pods: int = 1, gpus: int = 1, **fields: Any) -> PlacementRequest:
        wish = fields.pop("requirements", requirements)
        service, created = f"{tenant}/s{number:05}", f"{number:05}"
        return PlacementRequest(service, "d", wish, pods, gpus, creation_timestamp=created, **fields)

    def other(number: int) -> NodeRequirements:
        return NodeRequirements("amd.com/gpu", ("MI300X",), excluded=(("MI210", f"needs {number} GiB"),))

    def waiting(number: int, **fields: Any) -> PlacementRequest:
        return need(number, waiting_seconds=10 * PATIENCE, **fields)

    yield "2,000 mixed services", thousand, build_needs(2000)
    yield (
        "7,900 groups, 40 long ones wait",
        thousand,
        [
            need(0, "a", pods=1, gpus=1, min_replicas=7900),
            *(need(it, pods=200 + it, gpus=8) for it in range(1, 41)),
        ],
    )
    yield (
        "7,900 groups, 1,999 long ones wait, each shorter than the one before",
        thousand,
        [
            need(0, "a", pods=1, gpus=1, min_replicas=7900),
            *(need(it, pods=2200 - it, gpus=8) for it in range(1, 2000)),
        ],
    )
    yield (
        "40 x 40 groups, 400 wait",
        build_nodes(256),
        [
            *(need(it, "a", pods=1, gpus=1, min_replicas=40) for it in range(40)),
            *(need(it, pods=it, gpus=8) for it in range(40, 440)),
        ],
    )
    yield (
        "1 x 2,000 groups, 200 wait",
        build_nodes(256),
        [
            need(0, "a", pods=1, gpus=1, min_replicas=2000),
            *(need(it, pods=200 + it, gpus=8) for it in range(1, 201)),
        ],
    )
    yield "2,000 of two pods", thousand, [need(it, pods=2, gpus=1) for it in range(2000)]
    yield (
        "2,000 different wishes wait long",
        thousand,
        [
            need(0, "a", pods=1, gpus=1, min_replicas=8000),
            *(waiting(it, pods=1 + it % 7, gpus=1 + it % 8, requirements=other(it)) for it in range(1, 2000)),
        ],
    )
    yield (
        "fewer GPUs, more pods, each less than the one before",
        thousand,
        [
            need(0, "a", pods=1, gpus=1, min_replicas=7999),
            *(waiting(it, pods=2 + it // 8, gpus=8 - it % 8, exclusive=it % 2 == 0) for it in range(1, 2000)),
        ],
    )
    yield (
        "apart, ten thousand groups each",
        thousand,
        [need(it, pods=1 + it % 3, gpus=1, min_replicas=10_000, one_pod_per_node=True) for it in range(200)],
    )
    yield (
        "8,000 groups, each of a service that counts with whole nodes, below a limit",
        thousand,
        [need(it, pods=1, gpus=1, min_replicas=4000, exclusive=True, quota=7996) for it in range(2)],
    )
    yield (
        "2,000 wait for nodes that their limit reaches for",
        [*build_nodes(500), *(Node(f"s{it:03}", "amd.com/gpu", "MI300X", 4, unmanaged_usage=4) for it in range(500))],
        [waiting(it, pods=1, gpus=1 + it % 4, exclusive=True, quota=4) for it in range(2000)],
    )
    yield (
        "a thousand yield, a thousand wait",
        thousand,
        [
            *(
                need(it, "a", pods=1, gpus=1, min_replicas=1, max_replicas=20, existing_replicas=20)
                for it in range(1000)
            ),
            *(waiting(it, pods=1 + it % 5, gpus=8, priority=1) for it in range(1000, 2000)),
        ],
    )


def time_look(nodes: Sequence[Node], needs: Sequence[PlacementRequest]) -> tuple[float, int, int]:
    """CPU seconds of the worst look, looks until everything is decided, and pods that were placed."""
    held: dict[str, ExistingAllocation] = {}
    worst, resume, looks = 0.0, "", 0
    by_service = {need.service: need for need in needs}
    while True:
        begun = time.process_time()
        found = schedule(nodes, needs, held, PATIENCE, resume=resume)
        worst, looks, resume = max(worst, time.process_time() - begun), looks + 1, found.resume
        held = {
            key: ExistingAllocation(
                by_service[key].digest, it.product, it.hosts, by_service[key].gpus_per_node, it.proposed
            )
            for key, it in found.decisions.items()
            if it.hosts
        }
        if not resume or looks >= MOST_SHOWN:
            return worst, looks, sum(len(it.hosts) for it in found.decisions.values())


def build_nodes(size: int) -> list[Node]:
    """Racks of eight nodes, blocks of eight racks."""
    return [
        Node(
            f"n{it:05}",
            "amd.com/gpu",
            "MI300X",
            8,
            island=8,
            domains=("z", f"z/b{it // 64}", f"z/b{it // 64}/r{it // 8}"),
        )
        for it in range(size)
    ]


def build_needs(size: int) -> list[PlacementRequest]:
    chance, wish = random.Random(1), NodeRequirements("amd.com/gpu", ("MI300X",))
    return [
        PlacementRequest(
            f"team-{it % 10}/s{it:05}",
            "d",
            wish,
            nodes=chance.choice((1, 1, 1, 1, 2)),
            gpus_per_node=chance.choice((1, 2, 4, 8)),
            creation_timestamp=f"{it:05}",
            exclusive=chance.random() < 0.1,
        )
        for it in range(size)
    ]


def build_request(size: int) -> dict[str, Any]:
    """A pool sync as Metacontroller sends it, with GPUNodes and GPURequests of the usual size."""
    chance = random.Random(1)
    nodes = {f"n{it:05}": _node(f"n{it:05}", it) for it in range(size)}
    requests = {f"team-{it % 10}/s{it:05}": _request(it, chance) for it in range(size)}
    parent = {"metadata": {"name": "default", "uid": "pool", "generation": 1}, "spec": {}}
    related = {f"GPUNode.{API}": nodes, f"GPURequest.{API}": requests, f"GPUPool.{API}": {"default": parent}}
    return {"controller": {}, "parent": parent, "children": {f"GPUAllocation.{API}": {}}, "related": related}


def _node(name: str, number: int) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, "accelerator": "amd-gpu", "inference.ai/gpu-product": "MI300X"}
    offer = {"name": "amd.com/gpu", "gpus": 8, "capacity": 8, "memoryBytes": 206141652992, "partition": "spx_nps1"}
    spec = {"product": "MI300X", "gfx": "gfx942", "island": 8, "zone": "z", "rack": f"r{number // 8}"}
    spec |= {"resources": [offer], "labels": labels}
    return {"metadata": {"name": name}, "spec": spec, "status": {"observed": True, "used": 0}}


def _request(number: int, chance: random.Random) -> dict[str, Any]:
    shapes = [{"product": key, "tensor": 1, "pipeline": 1, "data": 1} for key in ("MI300X", "MI325X", "MI350X")]
    spec = {
        "pool": "default",
        "digest": "0123456789abcdef",
        "strategy": "dynamic",
        "sharing": "shared",
        "resource": "amd.com/gpu",
        "nodes": 1,
        "gpusPerNode": chance.choice((1, 2, 4, 8)),
        "replicas": {"min": 1, "max": 1},
        "shapes": shapes,
        "excluded": [{"product": "MI210", "reason": "needs 152.3 GiB a GPU, MI210 has 63.9 GiB"}],
        "nodeSelector": {"accelerator": "amd-gpu"},
    }
    metadata = {
        "name": f"s{number:05}",
        "namespace": f"team-{number % 10}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"metadata": metadata, "spec": spec}


if __name__ == "__main__":
    sys.exit(main())
