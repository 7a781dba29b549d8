"""Every field that a user may write acts, or a condition says that it does not.

Each leaf of each schema is changed alone, in an object where all is switched on and in one where nothing is. Something
of the answer must change with it: a child, the status, a condition.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from app.hooks.kinds import KINDS
from tests.calls import Answer, stored
from tests.gpupool import pool
from tests.inferenceendpoint import endpoint
from tests.inferenceservice import service
from tests.modelcache import cache

Path = tuple[str, ...]
Json = dict[str, Any]

SINGLE_VALUES = {
    "InferenceService": {
        ("distributed", "backend"),
        ("distributed", "leaderReplicas"),
        ("monitoring", "prometheus", "path"),
    },
    "InferenceEndpoint": set[Path](),
    "ModelCache": set[Path](),
    "GPUPool": set[Path](),
}
"""Fields that take one value only, so there is nothing to change."""
_SPELLINGS = (("resources", "gpu", "count"),)
REFUSED_BESIDE: Mapping[str, tuple[Path, ...]] = {
    "all on": (*_SPELLINGS, ("distributed", "workerReplicas"), ("model", "source")),
    "all off": _SPELLINGS,
    "static": _SPELLINGS,
    "second spelling": (("resources", "totalGpus"), ("resources", "sharing"), ("distributed", "size")),
}
"""Admission refuses the edit beside what stands there: two spellings that differ, two places of the weights."""
CANDIDATES: tuple[Any, ...] = (
    "7m", "7Gi", "7", "dpx_nps1", "amd.com/dpx_nps1", "other", "other.example", "/other", "a/other",
    "huggingface://org/other", "https://other.example/x", "sha256:" + "7" * 64, "7" * 64, "7" * 40,
)  # fmt: skip
"""For texts with a pattern: the first that the schema takes is written."""

INGRESS = {
    "enabled": True,
    "className": "nginx",
    "host": "a.example",
    "tls": {"enabled": True, "secretName": "tls"},
    "annotations": {"haproxy.org/timeout-server": "5s"},
}
MPI = {"enabled": True, "timeout": 60, "sshKeySecret": "own"}
GROUP = {"enabled": True, "size": 2, "leaderReplicas": 1, "workerReplicas": 1, "mpi": MPI}
FULL: Json = {
    "model": {"name": "org/tiny", "precision": "bf16", "maxTokens": 512, "temperature": 0.5},
    "vllm": {"engineArgs": {"max_num_seqs": 8}, "envVars": {"NCCL_DEBUG": "INFO"}},
    "resources": {"totalGpus": 4, "cpuRequest": "4", "memoryRequest": "8Gi", "pool": "big", "priority": 1},
    "distributed": GROUP,
    "storage": {"modelCache": "weights", "compileCacheClaim": "compiled"},
    "autoscaling": {"enabled": True, "maxReplicas": 4},
    "networking": {"ports": {"http": 80, "grpc": 9000}, "ingress": INGRESS},
}
STATIC = {"resources": {"totalGpus": 1, "strategy": "static", "gpu": {"resource": "amd.com/gpu"}}}
PORT = {"name": "api", "port": 80, "targetPort": 8000}
SPELLED = service.spec(
    resources={"gpu": {"count": 2, "strategy": "shared"}}, distributed={"enabled": True, "workerReplicas": 1}
)
SECOND = {"name": "second", "port": 82}
GRPC = {"name": "grpc", "port": 81, "protocol": "gRPC", "targetPort": 8001}


EXPOSED = {"type": "LoadBalancer", "ports": [PORT, SECOND, GRPC]}


SOURCES: dict[str, Json] = {
    "huggingface": {"repository": "org/tiny"},
    "s3": {"bucket": "bucket", "key": "folder"},
    "gcs": {"bucket": "bucket"},
    "http": {"url": "https://a.example/model.tar", "extract": True},
}


def kept(source: str) -> Json:
    """A ModelCache of a source, on a volume of its own."""
    whole = {"type": source, source: SOURCES[source]}
    return cache.spec(source=whole, downloadPolicy="Always", refreshInterval="24h", caching={"enabled": True})


def fetch(given: Json) -> Answer:
    """A ModelCache whose claim is bound, after its download."""
    claim = cache.claim(kept("huggingface"))
    claim["spec"]["storageClassName"] = "standard"  # as admission writes the cluster's default
    asked = cache.call(given, children=[claim])
    jobs = [cache.complete(stored(child)) for child in asked.children if child["kind"] == "Job"]
    done = cache.call(given, children=[claim, *jobs])
    again = done.status | {"looksAgainAfterSeconds": done.resync_after_seconds}
    return Answer(again, [*asked.children, *done.children], done.resync_after_seconds)


def serve(given: Json) -> Answer:
    return service.call(given, related=[service.cache()])


def lead(given: Json) -> Answer:
    """An endpoint whose children are there, so that its ports are judged."""
    return endpoint.available(given)


TEAM_A = {"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}
POOL: Json = {
    "nodeSelector": TEAM_A,
    "namespaceSelector": TEAM_A,
    "limits": [{"namespaceSelector": TEAM_A, "gpus": 20, "maxPriority": 5}],
    "reserveAfter": "2h",
}


def allocate(given: Json) -> Answer:
    """A pool of three nodes, one of them another team's, with a service in line since an hour that needs a whole node.
    Behind it are one for which half a node would do, and one that is just beyond the limit of its namespace."""
    asked = pool.Pool(given, {name: {"team": name} for name in ("a", "b")})
    nodes = [pool.gpu_node(f"n{index}", labels={"team": team}) for index, team in enumerate("aab")]
    line = [
        pool.request("a/half", 4, priority=10),
        pool.request("a/one", 8, priority=9),
        pool.request("b/one", 8, priority=8),
        pool.request("a/two", 8),
    ]
    late = [pool.request("a/small", 4, priority=-1), pool.request("a/last", 5, priority=-2)]
    asked.sync(nodes, line)
    for _ in range(3):
        asked.sync(nodes, [*line, *late], pool.NOW + timedelta(hours=1))
    return Answer(asked.status, list(asked.allocations.values()), 0)


@dataclass(frozen=True)
class Case:
    kind: str
    base: Json
    ask: Callable[[Json], Answer]
    path: Path
    schema: Json
    of: str

    @property
    def title(self) -> str:
        return f"{self.of}: {'.'.join(self.path)}"


BASES: tuple[tuple[str, str, Json, Callable[[Json], Answer]], ...] = (
    ("InferenceService", "all on", FULL, serve),
    ("InferenceService", "all off", service.spec(), serve),
    ("InferenceService", "second spelling", SPELLED, serve),
    ("InferenceService", "static", service.spec(**STATIC), serve),
    (
        "InferenceEndpoint",
        "all on",
        endpoint.spec(expose={"type": "LoadBalancer", "ports": [PORT, SECOND, GRPC]}, ingress=INGRESS),
        lead,
    ),
    ("InferenceEndpoint", "all off", endpoint.spec(), lead),
    *(("ModelCache", source, kept(source), fetch) for source in SOURCES),
    ("GPUPool", "all on", POOL, allocate),
    ("GPUPool", "held back late", {"reserveAfter": "2h"}, allocate),
)


def cases() -> Iterator[Case]:
    schemas = {it.name: it.to_manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for it in KINDS}
    for kind, name, base, ask in BASES:
        for path, schema in leaves(schemas[kind]["properties"]["spec"], base):
            if strip(path) not in SINGLE_VALUES[kind] and not is_refused(name, path):
                yield Case(kind, base, ask, path, schema, f"{kind}, {name}")


def is_refused(base: str, path: Path) -> bool:
    """Admission takes one member of a union, and one of the places where a model may be kept."""
    other_source = path[0] == "source" and path[1] != "type" and path[1] != base
    return other_source or path in REFUSED_BESIDE.get(base, ())


def leaves(schema: Json, base: Any, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every field that has no fields of its own; of a list its items that the base has, of a map its first key."""
    properties = schema.get("properties", {})
    for name, part in properties.items():
        yield from leaves(part, base.get(name, {}) if isinstance(base, dict) else {}, (*path, name))
    if schema.get("type") == "array" and "properties" in schema["items"]:
        for index in range(len(base or [{}])):
            yield from leaves(schema["items"], (base or [{}])[index], (*path, str(index)))
    elif not properties:
        inner = schema.get("additionalProperties")
        key = next(iter(base), "KEY") if isinstance(base, dict) else "KEY"
        yield ((*path, key), inner) if inner else (path, schema)


def strip(path: Path) -> Path:
    return tuple(it for it in path if not it.isdigit())


def value_at(base: Any, path: Path) -> Any:
    for key in path:
        base = base[int(key)] if isinstance(base, list) else base.get(key) if isinstance(base, dict) else None
    return base


def changed(base: Json, path: Path, value: Any) -> Json:
    whole: Any = copy.deepcopy(base)
    at = whole
    for key in path[:-1]:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    at[path[-1]] = value
    result: Json = whole
    return result


def other_value(schema: Json, before: Any) -> Any:
    """A value that the schema takes and that is another one."""
    now = schema.get("default") if before is None else before
    if "enum" in schema:
        return next(it for it in schema["enum"] if it != now)
    if schema.get("type") == "array":
        return [other_value(schema["items"], None)]
    if schema.get("type") == "boolean":
        return not now
    if schema.get("type") in ("integer", "number"):
        most = schema.get("maximum", 10**6)
        if now is None:
            return min(schema.get("minimum", 0) + 2, most)
        number = now
        return number + 1 if number + 1 <= most else number - 1
    own = [now + "x", now.rstrip("0123456789") + "7"] if isinstance(now, str) else []
    fits = jsonschema.Draft202012Validator(schema)
    return next(it for it in (*own, *CANDIDATES) if it != now and fits.is_valid(it))


def shown(answer: Answer) -> str:
    return json.dumps([answer.status, answer.children], sort_keys=True)


ALL = list(cases())


@pytest.mark.parametrize("case", ALL, ids=[it.title for it in ALL])
def test_a_field_acts_or_a_condition_says_that_it_does_not(case: Case) -> None:
    edited = changed(case.base, case.path, other_value(case.schema, value_at(case.base, case.path)))
    assert shown(case.ask(edited)) != shown(case.ask(case.base)), f"{case.title} is accepted and does nothing"


def test_most_fields_are_tried_and_exceptions_are_fields() -> None:
    tried = {(case.kind, strip(case.path)) for case in ALL}
    assert len(tried) > 90
    for kind, paths in SINGLE_VALUES.items():
        assert not {(kind, path) for path in paths} & tried
    everywhere = {path for _, path in tried}
    assert {path for paths in REFUSED_BESIDE.values() for path in paths} <= everywhere, "each is tried beside others"
