"""Objects past their bounds, and objects that fill them: neither stops what runs, nor anybody else."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, cycle
from threading import Event, Thread
from typing import Any

import httpx2
import pytest

from app.api.bounds import ENTRIES
from app.hooks.kinds import KINDS
from app.serving.reading import read_body
from tests.bench import worst
from tests.cluster.test_admission import cache, endpoint
from tests.cluster.world import API, World, condition, service
from tools.sandbox.api import ApiError, Object
from tools.sandbox.cluster import wait_until

deep = pytest.mark.skipif(not os.environ.get("METACONTROLLER"), reason="the stand-in's own JSON takes 1,000 levels")
TOO_MANY = {f"VARIABLE_{number}": "" for number in range(ENTRIES + 50)}
LONG = "0" * 40 + "1"
TIMES = 20 if os.environ.get("METACONTROLLER") else 60
"""How much longer a new service may wait for its children than on the same machine at rest, which takes 0.1 s or more.
The stand-in for Metacontroller, one Python process, takes most of its time."""


def without_bounds(node: Any) -> Any:
    """A schema as it was before it had bounds; lists by key need theirs no less."""
    if isinstance(node, list):
        return [without_bounds(item) for item in node]
    if not isinstance(node, dict):
        return node
    left_out = {"maxLength", "maxItems", "maxProperties", "maximum", "pattern", "x-kubernetes-validations"}
    return {key: without_bounds(value) for key, value in node.items() if key not in left_out}


@contextmanager
def earlier_schema(world: World, kind: str) -> Iterator[None]:
    """The CRD of a kind without its bounds, for as long as an object of before is stored."""
    [found] = [it for it in KINDS if it.name == kind]
    manifest = found.to_manifest()
    wide = copy.deepcopy(manifest)
    for version in wide["spec"]["versions"]:
        version["schema"] = without_bounds(version["schema"])
    replace_crd(world, wide)
    try:
        yield
    finally:
        replace_crd(world, manifest)


def replace_crd(world: World, manifest: Object) -> None:
    """The whole schema, for what another applied stays in a server-side apply."""
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    patch = [{"op": "replace", "path": "/spec/versions", "value": spec["versions"]}]
    world.cluster.patch(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", name, None, patch,
        content_type="application/json-patch+json",
    )  # fmt: skip


def accepted(world: World, item: Object) -> bool:
    try:
        world.apply(item)
    except ApiError as error:
        if error.code == 422:
            return False
        raise
    return True


CASES = [
    pytest.param("InferenceService", service(), {"vllm": {"envVars": TOO_MANY}}, "Ready", "vllm.envVars", id="service"),
    pytest.param("ModelCache", cache(), {"size": f"{LONG}Gi"}, "Ready", "spec.size", id="cache"),
    pytest.param(
        "InferenceEndpoint",
        endpoint(),
        {"routing": {"healthCheck": {"interval": f"{LONG}s"}}},
        "Available",
        "healthCheck.interval",
        id="endpoint",
    ),
]


@pytest.mark.parametrize(("kind", "item", "change", "headline", "field"), CASES)
def test_an_object_of_before_keeps_its_children_and_gets_a_status(
    world: World, kind: str, item: Object, change: Object, headline: str, field: str
) -> None:
    """The API server accepts a status of an object whose spec it would refuse today."""
    if kind == "InferenceEndpoint":
        world.apply(service("demo"))
    world.apply(item)
    child = {"InferenceService": "Service", "ModelCache": "PersistentVolumeClaim", "InferenceEndpoint": "Service"}[kind]
    wait_until(lambda: bool(world.all_of("v1", child)), f"the {child} of the {kind}")
    late = copy.deepcopy(item)
    late["metadata"]["name"], late["spec"] = "late", item["spec"] | change
    with earlier_schema(world, kind):
        wait_until(lambda: accepted(world, late), "the schema has no bounds")
        world.patch("demo", {"spec": change}, kind)
    before = {it["metadata"]["uid"] for it in world.all_of("v1", child)}
    names = count()
    wait_until(
        lambda: not accepted(world, late | {"metadata": {"name": f"later-{next(names)}"}}),
        "the schema has its bounds again",
    )
    found = world.wait_condition(headline, "False", field, of=kind)
    assert condition(found, headline)["reason"] == "ConfigurationError"
    said = found["status"]["observedGeneration"]
    assert said == found["metadata"]["generation"]
    world.patch("demo", {"metadata": {"annotations": {"example.com/note": "an edit beside it"}}}, kind)
    assert before <= {it["metadata"]["uid"] for it in world.all_of("v1", child)}


class Raw:
    """One InferenceService as bytes, for Python's own JSON neither writes nor reads what is very deep."""

    def __init__(self, world: World, http: httpx2.Client, name: str) -> None:
        self.path = f"/apis/{API}/namespaces/{world.namespace}/inferenceservices/{name}"
        self.http = http

    def write(self, arguments: str) -> None:
        """Its engineArgs, whatever they were. Raises where the API server does not take them."""
        patch = f'[{{"op":"replace","path":"/spec/vllm/engineArgs","value":{arguments}}}]'
        headers = {"Content-Type": "application/json-patch+json"}
        self.http.patch(self.path, content=patch, headers=headers).raise_for_status()

    def read(self) -> Object:
        content = self.http.get(self.path).raise_for_status().content
        found: Object = read_body(b'{"parent":' + content + b"}", "inferenceservice")["parent"]
        return found

    def says(self, text: str) -> bool:
        ready = condition(self.read(), "Ready")
        return ready.get("status") == "False" and text in ready.get("message", "")


@pytest.fixture
def raw(world: World) -> Iterator[Raw]:
    """The service demo, which serves; what it was is there again afterwards."""
    world.apply(service("demo", vllm={"engineArgs": {"seed": 1}}))
    world.wait_ready("demo")
    access = world.cluster.access
    authorization = {"Authorization": f"Bearer {access.token}"}
    with httpx2.Client(base_url=access.server, headers=authorization, verify=access.ssl_context(), timeout=30) as http:
        found = Raw(world, http, "demo")
        yield found
        found.write('{"seed":1}')


ADMITTED = [
    pytest.param("[" + "[]," * 450_000 + "[]]", "4096 values", id="lists"),
    pytest.param("{" + ",".join(f'"{it:x}":{{}}' for it in range(50_000)) + "}", "4096 values", id="objects"),
    pytest.param("[" * 1_100 + "]" * 1_100, "16 levels", marks=deep, id="deeper than a parser goes"),
    pytest.param("[" * 9_900 + "]" * 9_900, "16 levels", marks=deep, id="as deep as it can be"),
    pytest.param('{"a":' * 4_000 + "1" + "}" * 4_000, "16 levels", marks=deep, id="deep objects"),
]


@pytest.mark.parametrize(("value", "bound"), ADMITTED)
def test_what_no_schema_sees_into_is_admitted_held_and_said(world: World, raw: Raw, value: str, bound: str) -> None:
    pods = {it["metadata"]["uid"] for it in world.all_of("v1", "Pod")}
    workload = world.deployment()
    raw.write(f'{{"compilation_config":{value}}}')
    wait_until(lambda: raw.says(bound), f"Ready says {bound}")
    found = raw.read()
    assert "spec.vllm.engineArgs is not accepted: it has" in condition(found, "Ready")["message"]
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    raw.write('{"seed":1}')
    world.wait_ready("demo")
    after = world.deployment()
    assert (after["metadata"]["uid"], after["spec"]) == (workload["metadata"]["uid"], workload["spec"])
    assert {it["metadata"]["uid"] for it in world.all_of("v1", "Pod")} == pods != set()


def test_structured_arguments_go_on_working(world: World) -> None:
    settings = {"pass_config": {"fuse_norm_quant": True}, "cudagraph_capture_sizes": [1, 2, 4]}
    world.apply(service("demo", vllm={"engineArgs": {"compilation_config": settings}}))
    world.wait_ready("demo")
    [container] = world.deployment()["spec"]["template"]["spec"]["containers"]
    assert "cudagraph_capture_sizes" in str(container)


def worst_services() -> list[Object]:
    """Ten, each with its maps full in another way."""
    builds: list[Callable[[], Object]] = list(worst.WORST["inferenceservice"].values())
    specs = [build()["parent"]["spec"] for build in builds]
    found = [service(f"worst-{number}") for number in range(10)]
    for item, spec in zip(found, cycle(specs), strict=False):
        item["spec"] = {key: value for key, value in spec.items() if key != "storage"}
    return found


@contextmanager
def synced_for_ever(world: World, names: list[str]) -> Iterator[None]:
    """Each edit of an annotation makes another sync."""
    stop = Event()

    def edit() -> None:
        for number, name in enumerate(cycle(names)):
            if stop.is_set():
                return
            world.patch(name, {"metadata": {"annotations": {"example.com/turn": str(number)}}})
            time.sleep(0.02)

    thread = Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.alone
def test_another_namespaces_service_has_its_children_soon(world: World) -> None:
    """While ten of the worst objects of one namespace are synced for ever."""
    other = f"{world.namespace}-other"
    world.create_namespace(other)
    items = worst_services()
    for item in items:
        world.apply(item)
    wanted = {("v1", "Service"), ("policy/v1", "PodDisruptionBudget"), ("networking.k8s.io/v1", "NetworkPolicy")}

    def has_children(name: str) -> bool:
        found = (world.cluster.list(*kind, other) for kind in wanted)
        return all(any(it["metadata"]["name"] == name for it in items) for items in found)

    def seconds(name: str) -> float:
        begun = time.monotonic()
        world.apply(service(name), other)
        wait_until(partial(has_children, name), "the children of a new service")
        taken = time.monotonic() - begun
        world.cluster.delete(API, "InferenceService", name, other)
        return taken

    alone, beside = [], []
    for number in range(3):
        world.settled()
        alone.append(seconds(f"quiet-{number}"))
        with synced_for_ever(world, [item["metadata"]["name"] for item in items]):
            time.sleep(2)  # the queue is full
            beside.append(seconds(f"new-{number}"))
    assert min(beside) < TIMES * min(alone), (
        f"children came after {beside} s, and after {alone} s while nothing happened"
    )
