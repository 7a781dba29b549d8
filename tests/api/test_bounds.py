"""Bounds: of every field of every CRD, the same in the models, and what becomes of objects that are past them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from app.api import bounds
from app.api.schema import Kind
from app.api.v1alpha1.inferenceendpoint import InferenceEndpointSpec
from app.api.v1alpha1.inferenceservice import ENGINE_ARGS, InferenceServiceSpec
from app.api.v1alpha1.modelcache import ModelCacheSpec
from app.hooks.kinds import KINDS
from app.kube.conditions import MESSAGE_LIMIT, listed, shortened
from app.vllm import finding
from app.vllm.command import EngineSpec, build_command_line
from tests.bench import worst
from tests.calls import ask
from tests.golden.schemas import custom_schemas, problems
from tests.gpupool.pool import Pool, gpu_node, request
from tests.inferenceendpoint import endpoint
from tests.inferenceservice import service
from tests.modelcache import cache

API = "inference.ai/v1alpha1"
Json = dict[str, Any]
Parts = Iterator[tuple[str, Mapping[str, Any]]]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def fields(kind: Kind, part: str) -> Parts:
    """Every schema of a part of the object, with its path."""
    [version] = kind.to_manifest()["spec"]["versions"]
    yield from below(version["schema"]["openAPIV3Schema"]["properties"][part], part)


def below(node: Mapping[str, Any], path: str) -> Parts:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from below(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            yield from below(node[key], f"{path}.{key}")


def missing(node: Mapping[str, Any]) -> str:
    """The bound that a schema lacks, "" when none."""
    if "x-kubernetes-int-or-string" in node:
        return next((it for it in ("maxLength", "maximum") if it not in node), "")
    if "additionalProperties" in node or "x-kubernetes-preserve-unknown-fields" in node:
        return "" if "maxProperties" in node else "maxProperties"
    wanted = {"string": "maxLength", "array": "maxItems", "integer": "maximum", "number": "maximum"}
    bound = wanted.get(node.get("type", ""), "")
    is_bounded = not bound or bound in node or "enum" in node or node.get("format") == "date-time"
    return "" if is_bounded else bound


@every_kind
@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_has_a_bound(kind: Kind, part: str) -> None:
    lacking = [f"{path}: {bound}" for path, node in fields(kind, part) if (bound := missing(node))]
    assert [it for it in lacking if not it.startswith("status.observedGeneration")] == [], "bound it in its Field"


@every_kind
def test_every_map_of_a_spec_bounds_its_keys(kind: Kind) -> None:
    maps = [node for _, node in fields(kind, "spec") if "additionalProperties" in node]
    assert all("key.size() <= " in str(node.get("x-kubernetes-validations")) for node in maps)


def test_a_field_without_a_bound_would_be_seen() -> None:
    for node in ({"type": "string"}, {"type": "array"}, {"type": "integer"}, {"x-kubernetes-int-or-string": True}):
        assert missing(node)
    assert missing({"type": "object", "additionalProperties": {"type": "string", "maxLength": 1}})


GOOD: Mapping[str, tuple[type[BaseModel], Json]] = {
    "InferenceService": (InferenceServiceSpec, service.spec()),
    "ModelCache": (ModelCacheSpec, cache.spec()),
    "InferenceEndpoint": (InferenceEndpointSpec, endpoint.spec()),
}


def past(kind: str) -> Iterator[tuple[str, Json]]:
    """Specs with one field past its bound in the CRD, and that field."""
    [found] = [it for it in KINDS if it.name == kind]
    spec = dict(fields(found, "spec"))["spec"]
    yield from ((path, merged(GOOD[kind][1], wrong)) for path, wrong in beyond(spec, ""))


def beyond(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """A value of the schema in which one part is past its bound; parts that it needs are left to the caller's spec."""
    if "maxLength" in node:
        yield path, "1" * (node["maxLength"] + 1)
    if "maximum" in node:
        yield path, int(node["maximum"]) + 1
    if "maxItems" in node:
        yield path, [minimal(node["items"])] * (node["maxItems"] + 1)
    if "maxProperties" in node:
        yield path, {f"k{number}": "v" for number in range(node["maxProperties"] + 1)}
    for name, child in node.get("properties", {}).items():
        yield from ((where, {name: value}) for where, value in beyond(child, f"{path}.{name}"))


def minimal(node: Mapping[str, Any]) -> Any:
    if node.get("type") == "object":
        return {name: minimal(node["properties"][name]) for name in node.get("required", ())}
    if node.get("type") == "array":
        return []
    return node.get("minimum", 1) if node.get("type") == "integer" else "https://a.example/m"[: node.get("maxLength")]


def merged(base: Json, change: Json) -> Json:
    return {
        key: merged(base[key], change[key])
        if isinstance(base.get(key), dict) and isinstance(change.get(key), dict)
        else change.get(key, base.get(key))
        for key in {**base, **change}
    }


@pytest.mark.parametrize("kind", GOOD)
def test_the_model_refuses_what_the_crd_refuses(kind: str) -> None:
    admitted = []
    for path, spec in past(kind):
        try:
            GOOD[kind][0].model_validate(spec)
            admitted.append(path)
        except ValidationError:
            pass
    assert len(list(past(kind))) > 5
    assert admitted == [], "bound it in its Field, which is for the CRD and the model alike"


HUGE = "9" * 900_000
TOO_MUCH: Mapping[str, tuple[str, Json, str]] = {
    "a quantity": (
        "inferenceservice", service.spec(resources={"totalGpus": 1, "memoryRequest": HUGE}), "memoryRequest",
    ),
    "a number as a quantity": (
        "inferenceservice", service.spec(resources={"totalGpus": 1, "cpuRequest": 10**400}), "cpuRequest",
    ),
    "a float as a quantity": (
        "inferenceservice", service.spec(resources={"totalGpus": 1, "cpuRequest": 1e300}), "cpuRequest",
    ),
    "infinity as a quantity": (
        "inferenceservice", service.spec(storage={"sharedMemory": float("inf")}), "sharedMemory",
    ),
    "an overflow": ("inferenceservice", service.spec(storage={"sharedMemory": f"{HUGE}Ei"}), "sharedMemory"),
    "more than Kubernetes holds": (
        "inferenceservice", service.spec(storage={"sharedMemory": "9" * 31}), "sharedMemory",
    ),
    "a delay": ("inferenceservice", service.spec(autoscaling={"scaleDownDelay": "9" * 80 + "s"}), "scaleDownDelay"),
    "variables": ("inferenceservice", service.spec(vllm={"envVars": {f"V{n}": "" for n in range(20_000)}}), "envVars"),
    "a variable's name": ("inferenceservice", service.spec(vllm={"envVars": {HUGE: ""}}), "envVars"),
    "a variable's value": ("inferenceservice", service.spec(vllm={"envVars": {"V": HUGE}}), "envVars"),
    "variables together": (
        "inferenceservice", service.spec(vllm={"envVars": {f"V{n}": "v" * 4000 for n in range(9)}}), "envVars",
    ),
    "arguments": (
        "inferenceservice", service.spec(vllm={"engineArgs": {f"a{n}": 1 for n in range(20_000)}}), "engineArgs",
    ),
    "an argument's name": ("inferenceservice", service.spec(vllm={"engineArgs": {HUGE: 1}}), "engineArgs"),
    "an argument's value": ("inferenceservice", service.spec(vllm={"engineArgs": {"a": HUGE}}), "engineArgs"),
    "a deep argument": (
        "inferenceservice", service.spec(vllm={"engineArgs": {"a": worst.deep(200)}}), "16 levels",
    ),
    "a wide argument": ("inferenceservice", service.spec(vllm={"engineArgs": {"a": [[]] * 300_000}}), "4096 values"),
    "a large size": (
        "inferenceservice", service.spec(vllm={"engineArgs": {"tensor_parallel_size": 10**15}}), "tensor_parallel_size",
    ),
    "annotations": (
        "inferenceservice",
        service.spec(networking={"ingress": {"annotations": {f"a/{n}": "" for n in range(9000)}}}),
        "annotations",
    ),
    "an interval": (
        "modelcache", cache.spec(downloadPolicy="Always", refreshInterval="9" * 80 + "h"), "refreshInterval",
    ),
    "a long interval": (
        "modelcache", cache.spec(downloadPolicy="Always", refreshInterval="9" * 30 + "h"), "refreshInterval",
    ),
    "a size": ("modelcache", cache.spec(size=HUGE), "size"),
    "an absurd number of copies": ("modelcache", cache.spec(caching={"replicas": 10**30}), "caching.replicas"),
    "URLs": (
        "modelcache", cache.spec(source={"type": "http", "http": {"urls": ["https://a.example/"] * 9000}}), "urls",
    ),
    "annotations of an endpoint": (
        "inferenceendpoint", endpoint.spec(ingress={"annotations": {"a": HUGE}}), "annotations",
    ),
    "ports": (
        "inferenceendpoint", endpoint.spec(expose={"ports": [{"name": "a", "port": 1}] * 9000}), "expose.ports",
    ),
}  # fmt: skip
RUNNING: Mapping[str, Callable[[], Any]] = {
    "inferenceservice": service.running,
    "modelcache": cache.filled,
    "inferenceendpoint": lambda: endpoint.observed(endpoint.spec()),
}
HEADLINE = {"inferenceservice": "Ready", "modelcache": "Ready", "inferenceendpoint": "Available"}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_was_stored_before_keeps_running_and_says_so(case: str) -> None:
    kind, spec, where = TOO_MUCH[case]
    children = RUNNING[kind]()
    answer = ask(kind, spec, children=children)
    assert {(it["kind"], it["metadata"]["name"]) for it in answer.children} == {
        (it["kind"], it["metadata"]["name"]) for it in children
    }
    headline = answer.condition(HEADLINE[kind])
    assert (headline["status"], headline["reason"]) == ("False", "ConfigurationError")
    assert where in headline["message"]
    assert len(headline["message"]) <= MESSAGE_LIMIT, "the value is not quoted whole"


@pytest.mark.parametrize("case", TOO_MUCH)
def test_refusing_it_is_cheap(case: str) -> None:
    """Each took up to 80 seconds before it was bounded; generous, because the machine may be busy."""
    kind, spec, _ = TOO_MUCH[case]
    begun = time.thread_time()
    ask(kind, spec)
    assert time.thread_time() - begun < 1


def test_json_that_is_deeper_than_what_can_be_written_out_is_survived() -> None:
    """pydantic writes out JSON of 255 levels at most; the API server admits what has no schema at any depth."""
    body = orjson.dumps(worst.engine())
    deep = b'{"a":' * 700 + b"1" + b"}" * 700
    told = orjson.loads(worst.answer("inferenceservice", body.replace(b'"engineArgs":{}', b'"engineArgs":' + deep)))
    assert "16 levels" in told["status"]["conditions"][0]["message"]


def test_a_pool_past_a_bound_keeps_its_allocations() -> None:
    fine = Pool()
    assert fine.sync([gpu_node("n1")], [request("a/b")]) == {"a/b": "Proposed"}
    late = Pool({"reserveAfter": "9" * 80 + "h", "nodeSelector": {"matchLabels": {"a": "v" * 900_000}}})
    late.allocations = fine.allocations
    assert late.sync([gpu_node("n1")], [request("a/b")]) == {"a/b": "Proposed"}
    assert set(late.hosts("a/b")) == {"n1"}
    [ready] = [it for it in late.status["conditions"] if it["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "ConfigurationError")
    assert len(ready["message"]) <= MESSAGE_LIMIT


def test_the_worst_object_costs_ten_times_the_sample_at_most() -> None:
    """CPU time of the thread, best of three; measured again where the machine was busy."""
    dear = [cost for cost in worst.measure_all() if cost.times > worst.BOUND]
    again = [worst.measure_again(cost) for cost in dear]
    assert [f"{it.kind} {it.name}: {it.times:.1f}" for it in again if it.times > worst.BOUND] == []


@pytest.mark.parametrize(
    ("kind", "build"), [(kind, build) for kind, objects in worst.HELD.items() for build in objects.values()]
)
def test_what_is_not_read_whole_is_no_larger_than_an_object_can_be(kind: str, build: Callable[[], Json]) -> None:
    """1.5 MiB; and the largest body is within what a hook takes."""
    request = build()
    related = [it for group in request["related"].values() for it in group.values()]
    assert all(len(orjson.dumps(it)) < 3 * 2**19 for it in (request["parent"], *related))
    assert len(orjson.dumps(request)) < 4 * 2**20


@pytest.mark.parametrize(
    ("kind", "build"), [(kind, build) for kind, objects in worst.WORST.items() for build in objects.values()]
)
def test_the_worst_objects_are_admitted(kind: str, build: Callable[[], Json]) -> None:
    """Else they would measure how fast a refusal is."""
    parent = build()["parent"]
    [name] = [it.name for it in KINDS if it.name.lower() == kind]
    assert problems({"apiVersion": API, "kind": name, "metadata": {}, "spec": parent["spec"]}) == []
    GOOD[name][0].model_validate(parent["spec"])
    status = custom_schemas()[API, name]
    assert status


def test_names_are_looked_up_for_the_first_few_only(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[str] = []

    def search(name: str, *_: object, **__: object) -> list[str]:
        searches.append(name)
        return []

    monkeypatch.setattr("difflib.get_close_matches", search)
    finding.did_you_mean.cache_clear()
    spec = EngineSpec(
        model="m",
        served_name="m",
        engine_args={f"argument_of_mine_{number}": 1 for number in range(bounds.ENTRIES)},
        env={f"VLLM_VARIABLE_OF_MINE_{number}": "" for number in range(bounds.ENTRIES)},
    )
    messages = [f"{it.path}: {it.message}" for it in build_command_line(spec).findings]
    assert len(searches) <= finding.HINTS
    assert "vllm.engineArgs: 251 more of its names are unknown too" in messages
    assert "vllm.envVars: 256 more of its names are unknown too" in messages


def test_a_long_name_is_not_looked_up() -> None:
    assert finding.did_you_mean("max_model_len" * 9, ("max_model_len",)) == ""
    assert finding.did_you_mean("max_modell_len", ("max_model_len",)) == "; did you mean max_model_len?"


@pytest.mark.parametrize("most", [64, 1024])
def test_a_message_is_shortened_and_keeps_its_class(most: int) -> None:
    short = shortened("word " * 1000 + "[Configuration]", most)
    assert len(short) == most
    assert short.endswith(" ... [Configuration]")
    assert shortened("short", most) == "short"


def test_parts_that_do_not_fit_are_counted() -> None:
    assert listed(["a", "b"]) == "a; b"
    assert listed(["x" * 60] * 9, 200) == "; ".join(["x" * 60] * 3) + "; and 6 more"
    assert len(listed(["x" * 5000, "y"])) < MESSAGE_LIMIT


def test_what_fills_the_bounds_is_accepted() -> None:
    arguments = {"chat_template": "{{ x }}" * (bounds.TEXT // 7), "limit_mm_per_prompt": {"image": 1}}
    variables = {f"V{number}": "v" * 120 for number in range(bounds.ENTRIES)}
    spec = InferenceServiceSpec.model_validate(service.spec(vllm={"engineArgs": arguments, "envVars": variables}))
    assert spec.engine_args == arguments
    assert len(arguments["chat_template"]) < ENGINE_ARGS.total
