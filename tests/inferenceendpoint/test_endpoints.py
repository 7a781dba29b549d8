"""Ports and URLs: what a client may expect of each port of an endpoint, and where it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.calls import Answer
from tests.inferenceendpoint.endpoint import available, call, observed, ports, spec, target

HTTP = {"name": "http-api", "port": 8000}
GRPC = {"name": "grpc-api", "port": 8001, "protocol": "gRPC", "targetPort": 8001}
INGRESS = {"enabled": True, "host": "a.example"}
TLS = {"enabled": True, "secretName": "a-tls"}
TIMEOUT = {"nginx.ingress.kubernetes.io/proxy-read-timeout": "300"}
BALANCED = {"type": "LoadBalancer", "ports": [HTTP]}


def entry(answer: Answer, name: str) -> dict[str, str]:
    [found] = [it for it in answer.status["endpoints"] if it["name"] == name]
    return dict(found)


def test_the_service_leads_to_leaders_of_the_named_service() -> None:
    found = call(ports(HTTP)).child("Service")
    assert found["metadata"]["name"] == "demo-endpoint"
    assert found["spec"] == {
        "type": "ClusterIP",
        "selector": {"inference.ai/service": "llama", "inference.ai/role": "leader"},
        "ports": [{"name": "http-api", "port": 8000, "targetPort": "http", "protocol": "TCP"}],
    }


def test_without_ports_there_is_one_for_http() -> None:
    [port] = call().child("Service")["spec"]["ports"]
    assert (port["name"], port["port"]) == ("http", 8000)


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_the_service_has_the_type_asked_for(kind: str) -> None:
    assert call(ports(HTTP, kind=kind)).child("Service")["spec"]["type"] == kind


def test_grpc_is_left_out_and_said() -> None:
    answer = available(ports(HTTP, GRPC))
    assert [port["name"] for port in answer.child("Service")["spec"]["ports"]] == ["http-api"]
    found = entry(answer, "grpc-api")
    assert found["status"] == "GRPCUnavailable"
    assert "url" not in found
    assert "vLLM serves no gRPC" in found["message"]
    assert answer.conditions()["Available"] == ("True", "Successful")


@pytest.mark.parametrize(
    ("port", "own", "status"),
    [
        pytest.param(None, 8000, "Ready", id="left out"),
        pytest.param(8000, 8000, "Ready", id="vLLM's own"),
        pytest.param(80, 80, "Ready", id="that of the service"),
        pytest.param(8000, 80, "Ready", id="vLLM's own beside that of the service"),
        pytest.param(9999, 8000, "PortUnavailable", id="nobody's"),
    ],
)
def test_a_target_port_means_the_api_or_is_refused(port: int | None, own: int, status: str) -> None:
    given = ports(HTTP | ({"targetPort": port} if port else {}))
    answer = call(given, children=observed(given), related=[target(http=own)])
    assert entry(answer, "http-api")["status"] == status
    assert answer.condition("Available")["status"] == ("True" if status == "Ready" else "False")


def test_a_target_port_is_not_judged_before_the_service_is_there() -> None:
    given = ports(HTTP | {"targetPort": 8080})
    found = entry(call(given, children=observed(given)), "http-api")
    assert (found["status"], found["url"]) == ("Pending", f"http://demo-endpoint.ns.svc:{HTTP['port']}")


def test_an_unusable_port_beside_a_usable_one_is_only_said() -> None:
    answer = available(ports(HTTP, {"name": "odd", "port": 81, "targetPort": 9999}))
    assert entry(answer, "odd")["message"].startswith("targetPort 9999 is not served")
    assert answer.conditions()["Available"] == ("True", "Successful")


def test_an_endpoint_without_usable_port_is_a_mistake_in_the_spec() -> None:
    answer = available(ports(HTTP | {"targetPort": 9999}))
    assert answer.conditions()["Available"] == ("False", "ConfigurationError")
    assert "http-api: targetPort 9999 is not served" in answer.condition("Available")["message"]


@pytest.mark.parametrize(
    ("given", "address", "url"),
    [
        pytest.param(ports(HTTP), None, "http://demo-endpoint.ns.svc:8000", id="inside"),
        pytest.param(ports(HTTP, kind="NodePort"), None, "http://demo-endpoint.ns.svc:8000", id="a node port"),
        pytest.param(spec(expose=BALANCED), {"ip": "10.0.0.1"}, "http://10.0.0.1:8000", id="a load balancer"),
        pytest.param(spec(expose=BALANCED), {"hostname": "lb.example"}, "http://lb.example:8000", id="by name"),
        pytest.param(spec(expose=BALANCED), {"ip": "fd00::1"}, "http://[fd00::1]:8000", id="of IPv6"),
        pytest.param(spec(ingress=INGRESS), None, "http://a.example", id="an ingress"),
        pytest.param(spec(ingress=INGRESS | {"tls": TLS}), None, "https://a.example", id="an ingress with TLS"),
        pytest.param(
            spec(expose=BALANCED, ingress=INGRESS | {"tls": TLS}),
            {"ip": "10.0.0.1"},
            "https://a.example",
            id="an ingress before a load balancer",
        ),
    ],
)
def test_the_url_is(given: dict[str, Any], address: dict[str, str] | None, url: str) -> None:
    answer = available(given, address)
    assert answer.status["url"] == url
    assert answer.status["endpoints"][0] == {
        "name": answer.status["endpoints"][0]["name"],
        "url": url,
        "status": "Ready",
    }
    assert url in answer.condition("Available")["message"]


def test_only_the_first_port_is_behind_the_ingress() -> None:
    given = ports(HTTP, {"name": "second", "port": 81}) | {"ingress": INGRESS}
    answer = available(given)
    assert entry(answer, "http-api")["url"] == "http://a.example"
    assert entry(answer, "second")["url"] == "http://demo-endpoint.ns.svc:81"


def test_the_ingress_passes_over_grpc() -> None:
    given = ports(GRPC, HTTP | {"port": 80}) | {"ingress": INGRESS}
    [rule] = available(given).child("Ingress")["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "demo-endpoint", "port": {"number": 80}}


def test_the_number_of_a_node_port_is_said() -> None:
    given = ports(HTTP, kind="NodePort")
    [service] = observed(given)
    service["spec"]["ports"][0]["nodePort"] = 30123
    answer = call(given, children=[service], related=[target()])
    assert entry(answer, "http-api")["message"] == "port 30123 of every node leads here"


def test_an_ingress_has_class_tls_and_annotations() -> None:
    ingress = INGRESS | {
        "className": "nginx",
        "tls": TLS,
        "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "300"},
    }
    found = call(spec(ingress=ingress)).child("Ingress")
    assert found["metadata"]["name"] == "demo-endpoint"
    assert found["metadata"]["annotations"] == TIMEOUT
    assert found["spec"]["ingressClassName"] == "nginx"
    assert found["spec"]["tls"] == [{"hosts": ["a.example"], "secretName": "a-tls"}]


def test_children_say_whose_they_are() -> None:
    for child in call(spec(ingress=INGRESS)).children:
        labels = child["metadata"]["labels"]
        assert labels["inference.ai/endpoint"] == "demo"
        assert labels["inference.ai/service"] == "llama"
        assert labels["app.kubernetes.io/managed-by"] == "inference-operator"


def test_nothing_observed_changes_a_child() -> None:
    given = ports(HTTP, GRPC) | {"ingress": INGRESS}
    expected = call(given).children
    for related in ([], [target(0)], [target()], [target(http=80)]):
        assert call(given, children=observed(given), related=related).children == expected
