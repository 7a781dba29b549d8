"""Bodies of very many or very deep values: what runs is kept, the status says why, and the rest is read as ever."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import orjson
import pytest

from app.hooks.kinds import KINDS
from app.kube.weight import holds_more
from app.serving.answer import Answer, Call, answer
from app.serving.reading import MARKS, OPEN, OWN_VALUES, RELATED_VALUES, read_body
from app.settings import Settings
from tests.bench import worst
from tests.calls import NOW

Json = dict[str, Any]
DEEPEST = 9_990 if sys.version_info < (3, 12) else 9_900
"""Levels in a level of engineArgs; later Pythons count this test's own calls, too."""
DEEP_BESIDE_WIDE = "nested deeper than 16 levels" if sys.version_info < (3, 12) else "more than 4096 values"
"""From Python 3.12 on a parser goes this deep, so that what is told is what is found first."""
LISTS = "[]," * 450_000 + "[]"

CASES: Mapping[str, tuple[str, str]] = {
    "empty lists": (f'{{"a":[{LISTS}]}}', f"{len(LISTS) + 8} bytes as JSON and more than 4096 values"),
    "empty objects": ('{"a":[' + "{}," * 450_000 + "0]}", "more than 4096 values"),
    "a list without objects": ('{"a":[' + "0," * 600_000 + "0]}", "more than 4096 values"),
    "names": ('{"a":{' + ",".join(f'"{it}":[]' for it in range(100_000)) + "}}", "more than 4096 values"),
    "deeper than a parser goes": ('{"a":' + "[" * 1_100 + "]" * 1_100 + "}", "16 levels"),
    "as deep as the API server admits": (
        '{"a":' + '{"a":' * DEEPEST + "1" + "}" * DEEPEST + "}", "16 levels",
    ),
    "deep beside wide": (
        '{"a":' + "[" * DEEPEST + "]" * DEEPEST + f',"b":[{LISTS}]}}', DEEP_BESIDE_WIDE,
    ),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES)


def hook(name: str, kind: str, request: Json) -> Answer:
    return answer(Call(name, kind, NOW), orjson.dumps(request), Settings())


def said(name: str, kind: str, request: Json) -> Json:
    found = hook(name, kind, request)
    assert found.code == 200, found.body[:500]
    told: Json = orjson.loads(found.body)
    return told


@cache
def _running() -> Json:
    """A group with a model cache, and its children."""
    return worst.grown("inferenceservice", worst.group(storage={"modelCache": "c"}))


def running(arguments: str = "{}") -> Json:
    request = copy.deepcopy(_running())
    request["parent"]["spec"]["vllm"] = {"engineArgs": orjson.Fragment(arguments), "envVars": {"A": "b"}}
    return request


def ready(told: Json) -> Json:
    [found] = [it for it in told["status"]["conditions"] if it["type"] == "Ready"]
    return dict(found)


def names(children: list[Json]) -> list[tuple[str, str]]:
    return sorted((it["kind"], it["metadata"]["name"]) for it in children)


def kept(request: Json) -> list[tuple[str, str]]:
    return names([child for group in request["children"].values() for child in group.values()])


@every_case
def test_what_runs_is_kept_and_the_status_says_why(case: str) -> None:
    arguments, what = CASES[case]
    told = said("sync", "inferenceservice", running(arguments))
    assert names(told["children"]) == kept(_running()) != []
    assert ready(told)["reason"] == "ConfigurationError"
    assert "spec.vllm.engineArgs is not accepted: it " in ready(told)["message"]
    assert what in ready(told)["message"]


@every_case
def test_the_next_sync_says_the_same(case: str) -> None:
    request = running(CASES[case][0])
    first = said("sync", "inferenceservice", request)
    request["parent"]["status"] = first["status"]
    assert said("sync", "inferenceservice", request) == first


@every_case
def test_related_objects_are_those_of_the_rest_of_the_spec(case: str) -> None:
    plain = said("customize", "inferenceservice", {"parent": running()["parent"]})
    assert said("customize", "inferenceservice", {"parent": running(CASES[case][0])["parent"]}) == plain
    assert "modelcaches" in [it["resource"] for it in plain["relatedResources"]]


@every_case
def test_it_can_be_deleted(case: str) -> None:
    told = said("finalize", "inferenceservice", running(CASES[case][0]) | {"finalizing": True})
    assert told["finalized"] is True


@every_case
def test_an_endpoint_of_such_a_service_is_as_ever(case: str) -> None:
    def request(arguments: str) -> Json:
        found = worst.base("inferenceendpoint", {"service": "worst"})
        target = {"apiVersion": "inference.ai/v1alpha1", "kind": "InferenceService"} | running(arguments)["parent"]
        return found | {"related": {"InferenceService.inference.ai/v1alpha1": {"ns/worst": target}}}

    plain = said("sync", "inferenceendpoint", request("{}"))
    assert said("sync", "inferenceendpoint", request(CASES[case][0])) == plain
    assert plain["children"]


def test_mending_the_field_restarts_nothing() -> None:
    request = running(CASES["empty lists"][0])
    request["parent"]["status"] = said("sync", "inferenceservice", request)["status"]
    request["parent"]["spec"] = _running()["parent"]["spec"]
    before = said("sync", "inferenceservice", _running())
    assert said("sync", "inferenceservice", request)["children"] == before["children"]


@pytest.mark.parametrize("levels", range(950, 1_010))
def test_no_depth_is_between_the_parsers_limit_and_the_bound(levels: int) -> None:
    """Where the body is too deep, and engineArgs alone, a few levels less, are not."""
    told = said("sync", "inferenceservice", running('{"a":' + "[" * levels + "]" * levels + "}"))
    assert "16 levels" in ready(told)["message"]


def test_arguments_within_their_bounds_are_read_whole_beside_much_else() -> None:
    request = running(orjson.dumps({"compilation_config": {"a": [[]] * 4_000, "text": ',[{\\"' * 900}}).decode())
    fields: Json = {"fieldsV1": {f"f:{number}": {} for number in range(70_000)}}
    heavy = orjson.loads(orjson.dumps(request))
    heavy["parent"]["metadata"]["managedFields"] = [fields]
    heavy["parent"]["metadata"]["finalizers"] = ["a/b"] * 70_000
    for group in heavy["children"].values():
        for child in group.values():
            child["metadata"]["managedFields"] = [fields]
    assert len(orjson.dumps(heavy)) > 3 * len(orjson.dumps(request))
    assert said("sync", "inferenceservice", heavy) == said("sync", "inferenceservice", request)


def test_a_small_body_is_read_as_it_is() -> None:
    request = _running()
    assert read_body(orjson.dumps(request), "inferenceservice") == request


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize("kind", ["inferenceservice", "modelcache", "inferenceendpoint"])
def test_too_many_labels_or_annotations_keep_everything_and_are_said(kind: str, field: str) -> None:
    spec = {"inferenceservice": worst.service()["parent"]["spec"], "modelcache": {"modelName": "m"}}
    request = worst.grown(kind, worst.base(kind, spec.get(kind, {"service": "worst"})))
    before = kept(request)
    request["parent"]["metadata"][field] = {f"a{number}": "" for number in range(70_000)}
    told = said("sync", kind, request)
    assert names(told["children"]) == before != []
    [headline] = [it for it in told["status"]["conditions"] if it["reason"] == "ConfigurationError"]
    assert f"metadata.{field} are too many" in headline["message"]
    assert f"{MARKS} of them are the most" in headline["message"]
    assert said("customize", kind, {"parent": request["parent"]}) is not None


def test_a_child_that_holds_too_much_changes_nothing_and_is_named() -> None:
    request = running()
    [child] = request["children"]["NetworkPolicy.networking.k8s.io/v1"].values()
    child["spec"]["ingress"] = [{}] * OWN_VALUES
    found = hook("sync", "inferenceservice", request)
    assert found.code == 413
    message = orjson.loads(found.body)["error"]
    assert f"more than {OWN_VALUES} JSON values" in message
    assert "NetworkPolicy.networking.k8s.io/v1 ns/worst is the largest" in message
    assert message.endswith("nothing was changed")


def test_a_related_object_that_holds_too_much_changes_nothing_and_is_named() -> None:
    request = running()
    labels = {f"a{number}": "" for number in range(OWN_VALUES)}
    cache = {"metadata": {"name": "c", "namespace": "ns", "labels": labels}, "spec": {"modelName": "m"}}
    request["related"]["ModelCache.inference.ai/v1alpha1"] = {"ns/c": cache}
    found = hook("sync", "inferenceservice", request)
    assert found.code == 413
    assert (
        f"ModelCache.inference.ai/v1alpha1 ns/c holds more than {RELATED_VALUES}" in orjson.loads(found.body)["error"]
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="half a list"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deeper than any API server"),
        pytest.param(b"{" + b'"parent":[' + b"[]," * 100_000 + b"[]]}", id="a parent that is a list"),
        pytest.param(b'{"parent":{"metadata":[' + b"[]," * 100_000 + b"[]]}}", id="metadata that are a list"),
        pytest.param(b'{"a":[' + b"[]," * 100_000 + b"[]]}", id="no parent"),
        pytest.param(b'{"parent":' + b"[" * 2_000 + b"]" * 2_000 + b"}", id="a deep parent"),
        pytest.param(b'{"parent":{"metadata":{"name":' + b"[" * 2_000 + b"]" * 2_000 + b"}}}", id="deep metadata"),
    ],
)
def test_what_is_no_request_is_a_400_and_leaves_the_process_as_it_was(body: bytes) -> None:
    limit = sys.getrecursionlimit()
    found = answer(Call("sync", "inferenceservice", NOW), body, Settings())
    assert found.code == 400
    assert sys.getrecursionlimit() == limit


def test_a_request_that_is_too_deep_where_no_schema_lets_it_be_is_told_as_that() -> None:
    request = running()
    request["parent"]["status"] = orjson.Fragment("[" * 20_000 + "]" * 20_000)
    found = hook("sync", "inferenceservice", request)
    assert (found.code, "nested too deeply; nothing was changed" in found.body.decode()) == (400, True)


def open_parts(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if "x-kubernetes-preserve-unknown-fields" in node:
        yield path
    for name, child in node.get("properties", {}).items():
        yield from open_parts(child, (*path, name))
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            yield from open_parts(node[key], (*path, key))


def test_every_part_of_a_crd_that_no_schema_sees_into_is_weighed() -> None:
    found = []
    for kind in KINDS:
        [version] = kind.to_manifest()["spec"]["versions"]
        found += [(kind.name, *path) for path in open_parts(version["schema"]["openAPIV3Schema"], ())]
    assert found == [("InferenceService", "spec", *OPEN)], "bound it in app/serving/reading.py before it is parsed"


def test_the_fullest_object_that_the_models_accept_is_read_whole() -> None:
    request = worst.grown("inferenceservice", worst.full())
    own = orjson.dumps({key: request[key] for key in ("parent", "children")})
    assert not holds_more(own, OWN_VALUES // 2)
    assert all(not holds_more(orjson.dumps(it), RELATED_VALUES) for it in request["related"].values())
