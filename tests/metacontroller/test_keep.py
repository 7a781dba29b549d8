"""A stored spec that today's model refuses: every child stays, and the status says which field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from app.hooks.kinds import HOOKS
from app.kube.manifest import LAST_APPLIED, Manifest
from app.metacontroller.protocol import SyncRequest
from app.settings import Settings
from tests.calls import NOW, Answer, ask
from tests.golden.replay import child_key
from tests.inferenceendpoint import endpoint
from tests.inferenceservice import service
from tests.modelcache import cache

Children = Callable[[], list[Manifest]]

KINDS: Mapping[str, tuple[Mapping[str, Any], Children, str]] = {
    "inferenceservice": (service.spec(), service.running, "Ready"),
    "modelcache": (cache.spec(), cache.filled, "Ready"),
    "inferenceendpoint": (endpoint.spec(), lambda: endpoint.observed(endpoint.spec()), "Available"),
}
BAD = [
    pytest.param("inferenceservice", {"model": {}}, "spec.model.name", id="a service without a model"),
    pytest.param("inferenceservice", service.spec(replicas="two"), "spec.replicas", id="a service of many words"),
    pytest.param(
        "inferenceservice", service.spec(autoscaling={"scaleDownDelay": "soon"}), "scaleDownDelay", id="a bad duration"
    ),
    pytest.param("modelcache", {"modelName": 3}, "spec.modelName", id="a cache of a number"),
    pytest.param("modelcache", cache.spec(size="much"), "spec.size", id="a cache of bad size"),
    pytest.param("modelcache", cache.spec(source={"type": "s3"}), "give source.s3", id="a source without its member"),
    pytest.param("inferenceendpoint", {}, "spec.service", id="an endpoint to nothing"),
    pytest.param("inferenceendpoint", endpoint.spec(expose={"ports": []}), "spec.expose.ports", id="no ports"),
    pytest.param(
        "inferenceendpoint",
        endpoint.spec(expose={"ports": [{"name": "a", "port": 1, "protocol": "gRPC"}]}),
        "needs a port with protocol HTTP",
        id="no HTTP port",
    ),
]

every_bad_spec = pytest.mark.parametrize(("kind", "bad", "field"), BAD)


def held(kind: str, bad: Mapping[str, Any], **options: Any) -> Answer:
    """The answer to a bad spec of an object that served before."""
    good, children, _ = KINDS[kind]
    before = ask(kind, good, children=children())
    return ask(kind, bad, children=children(), **{"status": before.status} | options)


@every_bad_spec
def test_every_child_stays_as_it_was_applied(kind: str, bad: Mapping[str, Any], field: str) -> None:
    applied = [json.loads(child["metadata"]["annotations"][LAST_APPLIED]) for child in KINDS[kind][1]()]
    assert held(kind, bad).children == sorted(applied, key=child_key)
    assert held(kind, bad, settings=Settings(leader_image="new", downloader_image="new")) == held(kind, bad)


@every_bad_spec
def test_the_headline_names_the_field(kind: str, bad: Mapping[str, Any], field: str) -> None:
    answer = held(kind, bad)
    headline = KINDS[kind][2]
    assert answer.conditions()[headline] == ("False", "ConfigurationError")
    assert field in answer.condition(headline)["message"]
    assert answer.condition(headline)["message"].endswith("[Configuration]")


@every_bad_spec
def test_the_rest_of_the_status_stays(kind: str, bad: Mapping[str, Any], field: str) -> None:
    good, children, headline = KINDS[kind]
    before = ask(kind, good, children=children()).conditions()
    after = held(kind, bad).conditions()
    assert {it: after[it] for it in after if it != headline} == {it: before[it] for it in before if it != headline}


@every_bad_spec
def test_another_sync_changes_nothing(kind: str, bad: Mapping[str, Any], field: str) -> None:
    first = held(kind, bad)
    assert held(kind, bad, status=first.status, now=NOW + timedelta(hours=1)) == first


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [{}, {"conditions": None}, {"conditions": [3, {"type": "Other"}], "phase": None}])
def test_a_strange_status_is_survived(kind: str, status: dict[str, Any]) -> None:
    answer = ask(kind, {"model": 3, "modelName": 3, "service": 3}, status=status)
    assert KINDS[kind][2] in [condition["type"] for condition in answer.status["conditions"]]
    assert answer.children == []
    assert None not in answer.status.values()


@pytest.mark.parametrize(
    ("kind", "bad", "phase"),
    [
        pytest.param("inferenceservice", {}, "Degraded", id="a service that serves"),
        pytest.param("modelcache", {}, "Ready", id="a cache that can be read"),
    ],
)
def test_the_phase_says_that_what_ran_goes_on(kind: str, bad: dict[str, Any], phase: str) -> None:
    assert held(kind, bad).status["phase"] == phase


@pytest.mark.parametrize("kind", ["inferenceservice", "modelcache"])
def test_the_phase_of_what_never_ran_is_failed(kind: str) -> None:
    assert ask(kind, {}).status["phase"] == "Failed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_parent_that_is_deleted_goes_at_once_and_its_children_by_their_owner(kind: str) -> None:
    metadata = {"name": "demo", "namespace": "ns"}
    parent = {"metadata": metadata, "spec": KINDS[kind][0], "status": {"phase": "Ready"}}
    response = HOOKS[kind].finalize(SyncRequest.model_validate({"parent": parent, "finalizing": True}))
    assert response.finalized is True
    assert response.status == {"phase": "Ready"}
