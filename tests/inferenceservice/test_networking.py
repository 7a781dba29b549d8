"""How a service is reached: its Service, Ingress, URLs, and what Prometheus scrapes."""

from __future__ import annotations

from typing import Any

import pytest

from app.kube.manifest import Manifest
from tests.calls import Answer, stored
from tests.inferenceservice.service import DISTRIBUTED, call, container, spec, workload

INGRESS = {"enabled": True, "host": "a.example"}
TLS = {"enabled": True, "secretName": "a-tls"}


def networked(**parts: Any) -> dict[str, Any]:
    return spec(networking=parts)


def ports(answer: Answer) -> dict[str, int]:
    found = answer.child("Service")["spec"]["ports"]
    assert {port["targetPort"] for port in found} == {"http"}
    assert {port["protocol"] for port in found} == {"TCP"}
    return {port["name"]: port["port"] for port in found}


def external(given: dict[str, Any], addresses: list[dict[str, str]] | None = None) -> str:
    balanced = stored(call(given).child("Service"), {"loadBalancer": {"ingress": addresses or []}})
    return str(call(given, children=[balanced]).status["endpoints"].get("external", ""))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(spec(), {"http": 8000, "metrics": 9090}, id="by default"),
        pytest.param(networked(ports={"http": 80}), {"http": 80, "metrics": 9090}, id="another API port"),
        pytest.param(networked(ports={"http": 8000, "grpc": 8001}), {"http": 8000, "metrics": 9090}, id="no gRPC"),
        pytest.param(
            spec(monitoring={"prometheus": {"port": 9100}}), {"http": 8000, "metrics": 9100}, id="another metrics port"
        ),
        pytest.param(spec(monitoring={"prometheus": {"port": 8000}}), {"http": 8000}, id="one port for both"),
        pytest.param(spec(monitoring={"enabled": False}), {"http": 8000}, id="no monitoring"),
    ],
)
def test_ports_lead_to_the_api(given: dict[str, Any], expected: dict[str, int]) -> None:
    assert ports(call(given)) == expected


@pytest.mark.parametrize("kind", [pytest.param({}, id="Deployment"), pytest.param(DISTRIBUTED, id="LeaderWorkerSet")])
def test_only_leaders_take_requests(kind: dict[str, Any]) -> None:
    answer = call(spec(**kind))
    selector = answer.child("Service")["spec"]["selector"]
    assert selector == {"inference.ai/service": "demo", "inference.ai/role": "leader"}
    of = workload(answer)["spec"]
    leader = of["template"] if "template" in of else of["leaderWorkerTemplate"]["leaderTemplate"]
    assert selector.items() <= leader["metadata"]["labels"].items()
    assert (
        not kind or of["leaderWorkerTemplate"]["workerTemplate"]["metadata"]["labels"]["inference.ai/role"] == "worker"
    )


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_the_service_has_the_type_asked_for(kind: str) -> None:
    assert call(networked(serviceType=kind)).child("Service")["spec"]["type"] == kind


def test_the_scrape_annotations_name_the_port_of_the_pods() -> None:
    """Prometheus scrapes the addresses behind a Service, at the port of the annotation: 9090 is no port of theirs."""
    answer = call(spec(monitoring={"prometheus": {"port": 9090}}))
    assert answer.child("Service")["metadata"]["annotations"].items() >= {
        ("prometheus.io/scrape", "true"),
        ("prometheus.io/path", "/metrics"),
        ("prometheus.io/port", str(container(answer)["ports"][0]["containerPort"])),
    }


def test_without_monitoring_nothing_is_scraped() -> None:
    annotations = call(spec(monitoring={"enabled": False})).child("Service")["metadata"]["annotations"]
    assert not [name for name in annotations if name.startswith("prometheus.io")]


def test_switching_monitoring_restarts_no_pod() -> None:
    on, off = call(), call(spec(monitoring={"enabled": False}))
    assert workload(on) == workload(off)


def test_an_ingress_leads_to_the_api_port() -> None:
    ingress = INGRESS | {"className": "nginx", "tls": TLS, "annotations": {"haproxy.org/timeout-server": "c"}}
    found = call(networked(ports={"http": 80}, ingress=ingress)).child("Ingress")
    assert found["spec"]["ingressClassName"] == "nginx"
    assert found["spec"]["tls"] == [{"hosts": ["a.example"], "secretName": "a-tls"}]
    [rule] = found["spec"]["rules"]
    assert rule["host"] == "a.example"
    [path] = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert path["backend"]["service"] == {"name": "demo", "port": {"number": 80}}
    assert found["metadata"]["annotations"]["haproxy.org/timeout-server"] == "c"


def test_no_ingress_is_made_unless_asked_for() -> None:
    assert "Ingress" not in call(networked(ingress={"enabled": False, "host": "a.example"})).kinds()


def test_a_plain_ingress_has_no_class_and_no_tls() -> None:
    assert call(networked(ingress=INGRESS)).child("Ingress")["spec"].keys() == {"rules"}


def test_the_internal_url_names_service_namespace_and_port() -> None:
    assert call(networked(ports={"http": 80})).status["endpoints"]["internal"] == "http://demo.ns.svc:80"


BALANCED = networked(serviceType="LoadBalancer")


@pytest.mark.parametrize(
    ("given", "addresses", "url"),
    [
        pytest.param(spec(), [], "", id="inside only"),
        pytest.param(networked(ingress=INGRESS), [], "http://a.example", id="an ingress"),
        pytest.param(networked(ingress=INGRESS | {"tls": TLS}), [], "https://a.example", id="an ingress with TLS"),
        pytest.param(BALANCED, [], "", id="a load balancer without address"),
        pytest.param(BALANCED, [{"ip": "10.0.0.1"}], "http://10.0.0.1:8000", id="a load balancer"),
        pytest.param(BALANCED, [{"hostname": "lb.example"}], "http://lb.example:8000", id="a load balancer by name"),
        pytest.param(BALANCED, [{"ip": "fd00::1"}], "http://[fd00::1]:8000", id="a load balancer of IPv6"),
        pytest.param(
            networked(serviceType="LoadBalancer", ingress=INGRESS),
            [{"ip": "10.0.0.1"}],
            "http://a.example",
            id="an ingress before a load balancer",
        ),
    ],
)
def test_the_external_url_is(given: dict[str, Any], addresses: list[dict[str, str]], url: str) -> None:
    assert external(given, addresses) == url


@pytest.mark.parametrize("status", [{}, {"loadBalancer": None}, {"loadBalancer": {"ingress": [3, {"ip": 4}]}}])
def test_a_strange_load_balancer_is_no_address(status: dict[str, Any]) -> None:
    there: Manifest = stored(call(BALANCED).child("Service"), status)
    assert "external" not in call(BALANCED, children=[there]).status["endpoints"]
