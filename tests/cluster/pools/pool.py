"""What a pool and its allocations say."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec
from app.api.v1alpha1.places import parse_places
from tests.cluster.world import API, World
from tools.sandbox.api import Object

NODES = 5
"""Of eight GPUs each."""


def pool(world: World, name: str = "default") -> Object:
    found = world.cluster.get(API, "GPUPool", name)
    assert found is not None
    return found


def allocations(world: World) -> dict[str, Object]:
    return {it["metadata"]["name"]: it["spec"] for it in world.all_of(API, "GPUAllocation")}


def phases(world: World) -> Counter[str]:
    return Counter(it["phase"] for it in allocations(world).values())


def granted(world: World) -> Counter[str]:
    """GPUs by node that are promised for certain."""
    found: Counter[str] = Counter()
    for it in allocations(world).values():
        for place in parse_places(GPUAllocationSpec.read(it).gpus).values() if it["phase"] == "Bound" else ():
            found[place.node] += 0 if place.proposed else place.gpus
    return found


def wait_phase(world: World, name: str, phase: str) -> Object:
    world.cluster.wait_for(
        API, "GPUAllocation", name, world.namespace, lambda it: it["spec"]["phase"] == phase, describe=phase
    )
    return allocations(world)[name]


@contextmanager
def watching(world: World) -> Iterator[list[str]]:
    """Look at the allocations all the time; the list gets every node that was promised more than it has."""
    found: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            found.extend(f"{node}: {count}" for node, count in granted(world).items() if count > 8)
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
