"""`python -m tests.bench.worst`: what the worst objects that the API server admits cost, against the sample.

A sync is what the hook service does with one request: read the JSON, decide, write the answer, in CPU time of the
thread, best of three. Each object is asked about twice: when it is new, and with the children of that first answer.
Figures are of this machine only; the ratio is what compares between machines, and 10 is its bound.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from app.api.bounds import ENTRIES, TEXT
from app.api.v1alpha1.inferenceservice import ENGINE_ARGS, ENV_TOTAL
from app.api.v1alpha1.places import Place, build_entries
from app.kube.manifest import LAST_APPLIED, emit, kind_key
from app.serving import answer as serving
from app.settings import Settings
from tests.bench.__main__ import machine

Json = dict[str, Any]

REQUEST, ALLOCATION = "GPURequest.inference.ai/v1alpha1", "GPUAllocation.inference.ai/v1alpha1"
SETTINGS = Settings()
HOOKS = ("sync", "customize", "finalize")
BOUND = 10
"""Times the sample's sync."""
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLES: Mapping[str, Path] = {
    "inferenceservice": GOLDEN / "inferenceservice/llama2-7b-service/07-ready.request.json",
    "modelcache": GOLDEN / "modelcache/llama2-cache/04-ready.request.json",
    "inferenceendpoint": GOLDEN / "inferenceendpoint/llama2-endpoint/03-available.request.json",
}


@dataclass(frozen=True)
class Cost:
    """What one object's sync takes."""

    kind: str
    name: str
    seconds: float
    times: float
    """The sample's sync is 1."""


def measure_all() -> Iterator[Cost]:
    """The worst objects of each kind that tenants write, beside the sample of the InferenceService."""
    sample = measure("inferenceservice", SAMPLES["inferenceservice"].read_bytes())
    for kind, objects in WORST.items():
        for name, build in objects.items():
            request = build()
            for life in ("new", "answered", "running"):
                seconds = measure(kind, orjson.dumps(request))
                yield Cost(kind, f"{name}, {life}", seconds, seconds / sample)
                request = grown(kind, request)
    for kind, objects in HELD.items():
        for name, build in objects.items():
            for hook in HOOKS:
                seconds = measure(kind, orjson.dumps(build()), hook=hook)
                yield Cost(kind, f"{name}, {hook}", seconds, seconds / sample)


def measure_again(cost: Cost, rounds: int = 20) -> Cost:
    """Of more rounds, the sample beside it: what else runs on the machine disturbs few of them."""
    name, _, life = cost.name.partition(", ")
    hook = life if life in HOOKS else "sync"
    request = {**WORST.get(cost.kind, {}), **HELD.get(cost.kind, {})}[name]()
    for _ in range(0 if life in HOOKS else ("new", "answered", "running").index(life)):
        request = grown(cost.kind, request)
    sample = measure("inferenceservice", SAMPLES["inferenceservice"].read_bytes(), rounds)
    seconds = measure(cost.kind, orjson.dumps(request), rounds, hook)
    return Cost(cost.kind, cost.name, seconds, seconds / sample)


def measure(kind: str, body: bytes, rounds: int = 3, hook: str = "sync") -> float:
    """CPU seconds of the thread, best of some rounds."""
    answer(kind, body, hook)
    taken = []
    for _ in range(rounds):
        begun = time.thread_time()
        answer(kind, body, hook)
        taken.append(time.thread_time() - begun)
    return min(taken)


def answer(kind: str, body: bytes, hook: str = "sync") -> bytes:
    """As the HTTP edge answers."""
    told = serving.answer(serving.Call(hook, kind, NOW), body, SETTINGS)
    assert told.code == 200, told.body[:500]
    return told.body


def grown(kind: str, request: Json) -> Json:
    """The same object with the children, and the status, of its answer, and with the GPUs that it asks for."""
    told = orjson.loads(answer(kind, orjson.dumps(request)))
    children: dict[str, Json] = {key: {} for key in request["children"]}
    for child in told["children"]:
        annotations = child["metadata"].get("annotations", {}) | {LAST_APPLIED: orjson.dumps(child).decode()}
        metadata = child["metadata"] | {"annotations": annotations}
        place = f"{metadata.get('namespace', '')}/{metadata['name']}"
        children[kind_key(child)][place] = child | {"metadata": metadata}
    parent = request["parent"] | {"status": request["parent"].get("status", {}) | told["status"]}
    related = request["related"] | {ALLOCATION: {key: bound(asked) for key, asked in children.get(REQUEST, {}).items()}}
    return request | {"children": children, "parent": parent, "related": related}


def bound(asked: Json) -> Json:
    """The pool's answer that grants what a GPURequest asks for, as long as an object can be."""
    spec = asked["spec"]
    places = {(group, 0): Place(f"{'n' * 50}-{group // 8}", 8) for group in range(10_000)}
    gpus = [emit(it) for it in build_entries(places, {})]
    decided = {
        "pool": spec["pool"], "digest": spec["digest"], "phase": "Bound", "shape": spec["shapes"][0], "gpus": gpus,
        "groups": 1,
    }  # fmt: skip
    return asked | {"kind": "GPUAllocation", "metadata": asked["metadata"] | {"annotations": {}}, "spec": decided}


def base(kind: str, spec: Json, **metadata: Any) -> Json:
    """A request of the sample's controller about another object."""
    request: Json = orjson.loads(SAMPLES[kind].read_bytes())
    parent = {"metadata": {"name": "worst", "namespace": "ns", "uid": "u", "generation": 1, **metadata}, "spec": spec}
    return request | {"parent": parent, "children": {key: {} for key in request["children"]}, "related": {}}


def service(**parts: Any) -> Json:
    spec = {"model": {"name": "org/tiny"}, "resources": {"totalGpus": 1}}
    metadata = parts.pop("metadata", {})
    return base("inferenceservice", spec | parts, **metadata)


def engine(**arguments: Any) -> Json:
    return service(vllm={"engineArgs": arguments})


def unknown_arguments() -> Json:
    """As many names as may be, near to known ones, and values that fill the rest."""
    size = ENGINE_ARGS.total // ENTRIES - 45
    return engine(
        **{f"max_num_batched_tokenz_{number:03}_of_all": "$(X)é"[:6] * (size // 6) for number in range(ENTRIES)}
    )


def unknown_variables() -> Json:
    size = ENV_TOTAL // ENTRIES - 42
    names = [f"VLLM_ROCM_USE_AITER_TRITON_FUSED_{number:03}" for number in range(ENTRIES)]
    return service(vllm={"envVars": dict.fromkeys(names, "$" * size)})


def template() -> Json:
    return engine(chat_template="{{ $(messages) }}\n" * (TEXT // 18))


def nested(depth: int = ENGINE_ARGS.depth - 3) -> Json:
    """JSON of many small parts: what is walked costs more than what is copied."""
    part = deep(depth)
    count = (ENGINE_ARGS.values - 2) // (depth + 1)
    return engine(compilation_config={f"k{number:05}": part for number in range(count)})


def deep(depth: int) -> Any:
    part: Any = 1
    for _ in range(depth):
        part = {"a": part}
    return part


def small_parts() -> Json:
    return engine(compilation_config={"a": [[]] * (ENGINE_ARGS.values - 2)})


def json_text() -> Json:
    return engine(compilation_config='{"a":[' + ",".join(["{}"] * (TEXT // 3 - 20)) + "]}")


def many_values() -> Json:
    return engine(allowed_origins=["a" * 15] * (ENGINE_ARGS.values - 1))


def mistakes() -> Json:
    """Every name and value is wrong."""
    return service(
        vllm={
            "engineArgs": {f"bad name {number:03}": {"a": [1] * 12} for number in range(ENTRIES)},
            "envVars": {f"bad name {number:03}": "v" * 110 for number in range(ENTRIES)},
        }
    )


def large_numbers() -> Json:
    return service(
        model={"name": "meta-llama/Llama-3.1-405B-Instruct", "maxTokens": 10**9},
        resources={"totalGpus": 4096, "autoOptimize": True, "strategy": "topology-aware", "sharing": "exclusive"},
        distributed={"enabled": True, "size": 256},
        replicas=10_000,
    )


def group(**parts: Any) -> Json:
    return service(resources={"totalGpus": 256}, distributed={"enabled": True, "size": 256}, replicas=10_000, **parts)


def full() -> Json:
    """All maps full at once, as a group, whose workload holds arguments twice, behind an Ingress."""
    arguments, variables = unknown_arguments(), unknown_variables()
    ingress = {
        "enabled": True,
        "host": ".".join(["h" * 61] * 4),
        "annotations": {f"a{number:03}.example/{'k' * 50}": "v" * 190 for number in range(ENTRIES)},
    }
    return group(
        vllm=arguments["parent"]["spec"]["vllm"] | variables["parent"]["spec"]["vllm"],
        networking={"ingress": ingress},
        metadata=many_labels(),
    )


def many_labels() -> Json:
    """Labels are bounded by the size of an object alone, annotations by 256 KiB."""
    labels = {f"example.com/{number:05}-{'k' * 50}": "v" * 63 for number in range(4000)}
    return {"labels": labels, "annotations": {f"example.com/{number:05}": "v" * 40 for number in range(4000)}}


def long_status() -> Json:
    """Whoever may write the status writes as much as the schema admits."""
    request = service()
    conditions = [{"type": f"T{number}", "status": "True", "message": "m" * 30_000} for number in range(30)]
    request["parent"]["status"] = {"conditions": conditions, "selector": "s" * 30_000}
    return request


def facts() -> Json:
    """Facts of a model, with all that the schema takes."""
    return {
        "architecture": "A" * 253, "layers": 1024, "hiddenSize": 2**53, "heads": 2**53, "kvHeads": 2**53,
        "intermediateSize": 2**53, "vocabSize": 2**53, "quantization": {"format": "f", "bits": 1, "block": [1] * 16},
    }  # fmt: skip


def cached() -> Json:
    """A ModelCache whose status is full."""
    request = service(storage={"modelCache": "c"})
    copies = [{"claimName": f"c-{number}", "ready": True, "path": "p"} for number in range(100)]
    status = {
        "phase": "Ready", "path": "p", "claimName": "c", "copies": copies,
        "model": facts(),
        "conditions": [{"type": "Ready", "status": "True", "message": "m" * 32_000}],
    }  # fmt: skip
    cache = {
        "apiVersion": "inference.ai/v1alpha1", "kind": "ModelCache", "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"modelName": "m"}, "status": status,
    }  # fmt: skip
    request["related"] = {"ModelCache.inference.ai/v1alpha1": {"ns/c": cache}}
    return request


def cache(**parts: Any) -> Json:
    return base("modelcache", {"modelName": "m" * 200} | parts, name="w" * 45)


def many_urls() -> Json:
    urls = [f"https://{number:03}.example/{'p' * 2020}" for number in range(ENTRIES)]
    return cache(source={"type": "http", "http": {"urls": urls}})


def many_patterns() -> Json:
    patterns = [f"{number:02}{'*?' * 127}" for number in range(64)]
    hub = {"repository": "o" * 90 + "/" + "r" * 90, "revision": "r" * 200, "include": patterns, "exclude": patterns}
    return cache(source={"type": "huggingface", "huggingface": hub})


def many_copies() -> Json:
    request = cache(accessMode="ReadWriteOnce", caching={"replicas": 100})
    copies = [{"claimName": f"{'w' * 45}-cache-{number}", "ready": True, "path": "p"} for number in range(100)]
    request["parent"]["status"] = {"copies": copies, "model": facts()}
    return request


def endpoint() -> Json:
    ports = [{"name": f"{'p' * 12}{number:02}", "port": number + 1, "protocol": "HTTP"} for number in range(16)]
    annotations = {f"a{number:03}.example/{'k' * 50}": "v" * 190 for number in range(ENTRIES)}
    ingress = {"enabled": True, "host": ".".join(["h" * 61] * 4), "annotations": annotations}
    spec = {"service": "worst", "expose": {"ports": ports}, "ingress": ingress}
    request = base("inferenceendpoint", spec, **many_labels())
    target = {"apiVersion": "inference.ai/v1alpha1", "kind": "InferenceService"} | full()["parent"]
    request["related"] = {"InferenceService.inference.ai/v1alpha1": {"ns/worst": target}}
    return request


def filled(arguments: str) -> Json:
    """All maps full, running, and JSON beside it in engineArgs, where no schema sees into: 1.5 MiB are the most that an
    object can have, and 10,000 levels."""
    whole = full()
    for name in ("labels", "annotations"):
        whole["parent"]["metadata"].pop(name)
    request = grown("inferenceservice", whole)
    vllm = request["parent"]["spec"]["vllm"] | {"engineArgs": orjson.Fragment(arguments)}
    spec = request["parent"]["spec"] | {"vllm": vllm}
    return request | {"parent": request["parent"] | {"spec": spec}}


def empty_lists() -> Json:
    return filled('{"a":[' + "[]," * 450_000 + "[]]}")


def empty_objects() -> Json:
    return filled(
        "{" + ",".join(f'"{number:x}":{{}}' for number in range(ENTRIES)) + ',"a":[' + "{}," * 440_000 + "0]}"
    )


def names() -> Json:
    return filled('{"a":{' + ",".join(f'"{number:x}":[]' for number in range(60_000)) + "}}")


def texts_then_lists() -> Json:
    """What is looked through for texts has many, with quotes and commas in them."""
    text = orjson.dumps('",[' * 40_000).decode()
    return filled(f'{{"a":{text},"b":[' + '"\\"",' * 100_000 + "[]," * 150_000 + "0]}")


def deep_lists() -> Json:
    return filled('{"a":' + "[" * 9_990 + "]" * 9_990 + "}")


def deep_and_wide() -> Json:
    return filled('{"a":' + '{"a":' * 9_990 + "1" + "}" * 9_990 + ',"b":[' + "[]," * 400_000 + "0]}")


def past_a_parser() -> Json:
    """Few values, and a little deeper than what the first parser takes."""
    return filled('{"a":' + "[" * 1_010 + "]" * 1_010 + "}")


def marks() -> Json:
    """The API server bounds labels by the size of an object alone."""
    labels = {f"{number:x}": "" for number in range(50_000)}
    fields: Json = {"f:metadata": {"f:labels": {f"f:{name}": {} for name in labels}}}
    metadata = {"labels": labels, "managedFields": [{"fieldsV1": fields}], "finalizers": ["a/b"] * 20_000}
    return service(metadata=metadata)


def forged() -> Json:
    """An editor of the children wrote as many values as an annotation holds into each."""
    request = grown("inferenceservice", full())
    claim = orjson.dumps({"spec": {"a": [[]] * 80_000}}).decode()
    children = {
        kind: {
            name: child | {"metadata": child["metadata"] | {"annotations": {LAST_APPLIED: claim}}}
            for name, child in group.items()
        }
        for kind, group in request["children"].items()
    }
    return request | {"children": children}


def looked_at() -> Json:
    """An endpoint of a service whose arguments are past every bound."""
    request = base("inferenceendpoint", {"service": "worst"})
    target = {"apiVersion": "inference.ai/v1alpha1", "kind": "InferenceService"} | empty_lists()["parent"]
    return request | {"related": {"InferenceService.inference.ai/v1alpha1": {"ns/worst": target}}}


HELD: Mapping[str, Mapping[str, Callable[[], Json]]] = {
    "inferenceservice": {
        it.__name__: it
        for it in (
            empty_lists, empty_objects, names, texts_then_lists, deep_lists, deep_and_wide, past_a_parser, marks,
            forged,
        )
    },
    "inferenceendpoint": {"looked_at": looked_at},
}  # fmt: skip
"""What the API server admits and the hooks do not read whole."""
WORST: Mapping[str, Mapping[str, Callable[[], Json]]] = {
    "inferenceservice": {
        it.__name__: it
        for it in (
            unknown_arguments, unknown_variables, template, nested, small_parts, json_text, many_values, mistakes,
            large_numbers, full, long_status, cached,
        )
    },
    "modelcache": {it.__name__: it for it in (many_urls, many_patterns, many_copies)},
    "inferenceendpoint": {"full": endpoint},
}  # fmt: skip


def main() -> int:
    print(f"machine: {machine()}")
    costs = sorted(measure_all(), key=lambda it: -it.times)
    for cost in costs:
        print(f"{cost.times:5.1f} x the sample's sync, {cost.seconds * 1000:6.2f} ms: {cost.kind} {cost.name}")
    print(f"worst ratio: {costs[0].times:.1f} of at most {BOUND}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
