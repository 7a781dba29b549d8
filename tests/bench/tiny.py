"""`python -m tests.bench.tiny`: what a pool costs while 20,000 services of one GPU each are applied, most of them by
one namespace.

Objects are as long as the API server's, with managedFields and the last applied configuration. Services ask as their
hook lets them; the pool is synced again and again on its own answers. Shown is the largest sync: bytes of its body, and
CPU time and peak memory of a process that answers it alone. Figures are of this machine only.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec
from app.api.v1alpha1.places import parse_places
from app.kube.conditions import format_time
from app.kube.manifest import LAST_APPLIED
from app.kube.names import LINE_LABEL
from app.serving.answer import Call, answer
from app.serving.lane import MEBI
from app.settings import Settings
from tests.bench.__main__ import machine
from tests.calls import ask

API = "inference.ai/v1alpha1"
REQUEST, ALLOCATION = f"GPURequest.{API}", f"GPUAllocation.{API}"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SERVICES, BATCH = 20_000, 500
CROWD = "crowd"
OTHERS = tuple(f"team-{it:02}" for it in range(20))
"""Namespaces of one service each, which come last."""

Json = dict[str, Any]


@dataclass
class World:
    """One pool, its nodes, and the services that ask it."""

    nodes: Mapping[str, Json]
    template: Json
    """The GPURequest of a service as its hook answers it."""
    parent: Json = field(default_factory=lambda: new_pool())
    requests: dict[str, Json] = field(default_factory=dict)
    allocations: dict[str, Json] = field(default_factory=dict)
    held_back: list[str] = field(default_factory=list)
    body: bytes = b""
    """Of the latest sync."""

    def apply(self, keys: Sequence[str], *, whatever_is_said: bool = False) -> None:
        """New services, each of which asks unless its namespace's line is full."""
        full = set() if whatever_is_said else self.full()
        for key in keys:
            if key.partition("/")[0] in full:
                self.held_back.append(key)
            else:
                self.requests[key] = stored(named(self.template, key), "InferenceService", status={"poolExists": True})

    def ask_again(self) -> None:
        """Services that were held back ask where they may."""
        waiting, self.held_back = self.held_back, []
        for begin in range(0, len(waiting), BATCH):
            self.apply(waiting[begin : begin + BATCH])

    def full(self) -> set[str]:
        return {key.partition("/")[0] for key, it in self.allocations.items() if LINE_LABEL in it["metadata"]["labels"]}

    def sync(self) -> None:
        """One look of the pool."""
        self.body = self.build_body()
        told = answer(Call("sync", "gpupool", NOW), self.body, Settings())
        assert told.code == 200, told.body[:500]
        found = orjson.loads(told.body)
        self.parent = self.parent | {"status": found["status"]}
        self.allocations = {key_of(it): stored(it, "GPUPool") for it in found["children"]}

    def build_body(self) -> bytes:
        """The request as Metacontroller sends it."""
        related = {f"GPUNode.{API}": self.nodes, REQUEST: self.requests, f"GPUPool.{API}": {"default": self.parent}}
        request = {"parent": self.parent, "children": {ALLOCATION: self.allocations}, "related": related}
        return orjson.dumps(request)

    def granted(self) -> Counter[str]:
        """GPUs by node that are promised."""
        places = (
            place
            for it in self.allocations.values()
            for place in parse_places(GPUAllocationSpec.read(it["spec"]).gpus).values()
        )
        return Counter(place.node for place in places for _ in range(place.gpus))


def new_pool() -> Json:
    beat = format_time(NOW - timedelta(seconds=10))
    metadata = {"name": "default", "uid": "pool", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    annotations = {"inference.ai/agent-heartbeat": beat}
    return {"apiVersion": API, "kind": "GPUPool", "metadata": metadata | {"annotations": annotations}, "spec": {}}


def build_nodes(count: int) -> dict[str, Json]:
    offer = {"name": "amd.com/gpu", "gpus": 8, "capacity": 8, "memoryBytes": 206141652992, "partition": "spx_nps1"}
    spec = {"product": "MI300X", "gfx": "gfx942", "island": 8, "resources": [offer], "labels": {}}
    return {
        name: {"metadata": {"name": name}, "spec": spec, "status": {"observed": True, "used": 0}}
        for name in (f"n{it:03}" for it in range(count))
    }


def build_template(model: str = "org/tiny") -> Json:
    """What a service of one GPU asks, by its own hook."""
    spec = {"model": {"name": model}, "resources": {"totalGpus": 1}}
    return ask("inferenceservice", spec, also_managed=[REQUEST]).child("GPURequest")


def named(template: Json, key: str) -> Json:
    namespace, _, name = key.partition("/")
    labels = template["metadata"]["labels"] | {"app.kubernetes.io/instance": name, "inference.ai/service": name}
    return template | {"metadata": {"name": name, "namespace": namespace, "labels": labels}}


def stored(child: Json, owner: str, status: Json | None = None) -> Json:
    """As the API server holds what Metacontroller applied."""
    uid = "01864d65-6e86-403c-964c-5ebe730db59a"
    metadata = child["metadata"] | {"labels": child["metadata"]["labels"] | {"controller-uid": uid}}
    applied = child | {"metadata": metadata}
    annotations = {LAST_APPLIED: orjson.dumps(applied).decode()}
    owners = [
        {"apiVersion": API, "kind": owner, "name": metadata["name"], "uid": uid, "controller": True,
         "blockOwnerDeletion": True}
    ]  # fmt: skip
    written = {
        "f:metadata": {
            "f:annotations": {".": {}, f"f:{LAST_APPLIED}": {}},
            "f:labels": {".": {}} | {f"f:{key}": {} for key in metadata["labels"]},
            "f:ownerReferences": {".": {}, f'k:{{"uid":"{uid}"}}': {}},
        },
        "f:spec": _fields(child["spec"]),
    }
    managed = [_managed("metacontroller", written)]
    if status:
        managed.append(_managed("inference-agent", {"f:status": _fields(status)}) | {"subresource": "status"})
    more = {
        "annotations": annotations, "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1, "uid": uid,
        "resourceVersion": "1234567", "ownerReferences": owners, "managedFields": managed,
    }  # fmt: skip
    return applied | {"metadata": metadata | more} | ({"status": status} if status else {})


def _managed(manager: str, fields: Json) -> Json:
    return {
        "apiVersion": API, "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": manager, "operation": "Update",
        "time": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def _fields(value: Json) -> Json:
    return {".": {}} | {f"f:{key}": _fields(it) if isinstance(it, dict) else {} for key, it in value.items()}


def key_of(item: Json) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def crowd(services: int) -> list[str]:
    return [f"{CROWD}/s{it:05}" for it in range(services)]


def flood(world: World, services: int, batch: int = BATCH) -> Iterator[None]:
    """A namespace applies very many services, others one each, and the pool looks in between until nothing changes."""
    keys = crowd(services)
    for begin in range(0, services, batch):
        world.apply(keys[begin : begin + batch])
        world.sync()
        yield
    world.apply([f"{namespace}/only" for namespace in OTHERS])
    for _ in range(3):
        world.sync()
        yield


def main(argv: Sequence[str] | None = None) -> int:
    if "--answer" in (sys.argv if argv is None else argv):
        return answer_alone()
    print(f"machine: {machine()}")
    for model in ("org/tiny", "Qwen/Qwen3-8B"):
        world, largest = World(build_nodes(100), build_template(model)), b""
        for _ in flood(world, SERVICES):
            largest = max(largest, world.body, key=len)
        show(f"{SERVICES} services of {model}, applied one after the other", largest)
    world = World(build_nodes(100), build_template())
    world.apply(crowd(SERVICES), whatever_is_said=True)
    for _ in range(3):
        world.sync()
    show(f"{SERVICES} that had asked already", world.build_body())
    return 0


def show(name: str, body: bytes) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.bench.tiny", "--answer"], input=body, capture_output=True, check=True
    )
    print(f"{name}: body {len(body) / MEBI:5.1f} MiB, {told.stdout.decode().strip()}", flush=True)


def answer_alone() -> int:
    """In a process of its own, as a worker does."""
    body = sys.stdin.buffer.read()
    begun = time.process_time()
    assert answer(Call("sync", "gpupool", NOW), body, Settings()).code == 200
    taken, peak = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{taken:.1f} s of CPU, peak {peak:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
