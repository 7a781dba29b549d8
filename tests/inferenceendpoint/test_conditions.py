"""The conditions of an endpoint: whether clients get answers, and what of the spec is not done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from app.api.v1alpha1.inferenceendpoint import InferenceEndpointSpec
from tests.calls import NOW, Answer
from tests.inferenceendpoint.endpoint import available, call, observed, ports, spec, target

HTTP = {"name": "http", "port": 8000}
BALANCED = ports(HTTP, kind="LoadBalancer")
INGRESS = {"enabled": True, "host": "a.example"}


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        pytest.param(
            call(),
            ("False", "ServiceNotFound"),
            "InferenceService llama does not exist in this namespace",
            id="no target",
        ),
        pytest.param(
            call(related=[target()]), ("False", "Pending"), "the Service is being made [Transient]", id="no Service yet"
        ),
        pytest.param(
            call(children=observed(spec()), related=[target(0)]),
            ("False", "Pending"),
            "llama has no group that is ready yet [Transient]",
            id="target not ready",
        ),
        pytest.param(
            available(BALANCED), ("False", "Pending"), "has given no address yet [External]", id="no address yet"
        ),
        pytest.param(
            available(BALANCED, {"ip": "10.0.0.1"}),
            ("True", "Successful"),
            "Endpoint is accessible and healthy: InferenceService llama answers at http://10.0.0.1:8000",
            id="an address",
        ),
        pytest.param(
            available(BALANCED | {"ingress": INGRESS}),
            ("True", "Successful"),
            "answers at http://a.example",
            id="an ingress needs no address of a load balancer",
        ),
        pytest.param(available(spec()), ("True", "Successful"), "answers at http://demo-endpoint.ns.svc", id="inside"),
        pytest.param(
            call(spec(ingress=INGRESS), related=[target()], unmanaged=["Ingress.networking.k8s.io/v1"]),
            ("False", "MissingCapability"),
            "Ingress demo-endpoint cannot be created",
            id="no Ingress",
        ),
    ],
)
def test_available_is(answer: Answer, expected: tuple[str, str], words: str) -> None:
    assert answer.conditions()["Available"] == expected
    assert words in answer.condition("Available")["message"]


def test_while_nothing_answers_every_usable_port_is_pending_and_says_why() -> None:
    [entry] = call(children=observed(spec()), related=[target(0)]).status["endpoints"]
    assert entry["status"] == "Pending"
    assert "no group that is ready" in entry["message"]


def test_a_name_that_is_taken_is_said() -> None:
    first = call(related=[target()])
    answer = call(related=[target()], status=first.status, now=NOW + timedelta(seconds=31))
    assert answer.conditions()["ChildConflict"] == ("True", "ChildMissing")
    assert answer.conditions()["Available"] == ("False", "ChildMissing")
    assert "Service demo-endpoint was not created" in answer.condition("Available")["message"]


@pytest.mark.parametrize(
    ("routing", "words"),
    [
        pytest.param({"strategy": "weighted"}, "strategy weighted is not applied", id="weights"),
        pytest.param({"strategy": "least-connections"}, "strategy least-connections is not applied", id="connections"),
        pytest.param({"healthCheck": {"path": "/ping"}}, "health check path /ping is not applied", id="another path"),
        pytest.param({"healthCheck": {"interval": "7s"}}, "interval 7s is not applied", id="often"),
        pytest.param({"healthCheck": {"timeout": "1s"}}, "timeout 1s is not applied", id="quickly"),
        pytest.param({"healthCheck": {"enabled": False}}, "health checks cannot be switched off", id="no health check"),
    ],
)
def test_routing_that_is_not_applied_is_said_and_stops_nothing(routing: dict[str, Any], words: str) -> None:
    answer = available(spec(routing=routing))
    assert answer.conditions()["RoutingApplied"] == ("False", "MissingCapability")
    assert words in answer.condition("RoutingApplied")["message"]
    assert answer.conditions()["Available"] == ("True", "Successful")


@pytest.mark.parametrize(
    "routing",
    [
        pytest.param({}, id="by default"),
        pytest.param({"strategy": "round-robin", "healthCheck": {"path": "/health"}}, id="spelled out"),
    ],
)
def test_routing_that_a_service_does_is_applied(routing: dict[str, Any]) -> None:
    assert available(spec(routing=routing)).conditions()["RoutingApplied"] == ("True", "Successful")


def test_a_service_of_the_same_name_in_another_namespace_is_not_the_target() -> None:
    foreign = target()
    foreign["metadata"]["namespace"] = "other"
    assert call(related=[foreign]).conditions()["Available"] == ("False", "ServiceNotFound")


@pytest.mark.parametrize("length", [64, 253])
def test_a_name_that_no_service_can_have_is_refused(length: int) -> None:
    """It stands in the Service's selector, whose values have 63 characters at most."""
    with pytest.raises(ValidationError):
        InferenceEndpointSpec.model_validate({"service": "s" * length})
