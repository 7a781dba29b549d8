"""InferenceEndpoint: what it exposes, and what stands between a client and the model."""

from __future__ import annotations

from typing import Any

from tests.cluster.world import API, service
from tests.golden.scene import Scene, always, leaving, says, scenario, told
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node

DEMO = "inferenceendpoint/demo"
MODEL = "inferenceservice/model"
one_node = scenario(nodes=[build_node(0)])
no_nodes = scenario(nodes=())


def endpoint(name: str = "demo", **spec: Any) -> Object:
    return {
        "apiVersion": API, "kind": "InferenceEndpoint", "metadata": {"name": name}, "spec": {"service": "model"} | spec,
    }  # fmt: skip


def ports(*given: Object, exposed: str = "ClusterIP") -> Object:
    return {"type": exposed, "ports": list(given)}


def port(number: int, name: str = "http", **more: Any) -> Object:
    return {"name": name, "port": number} | more


def gives_address(scene: Scene, **address: str) -> None:
    """What a cloud's load balancer writes."""
    scene.wait("service/demo-endpoint")
    scene.patch("service/demo-endpoint", {"status": {"loadBalancer": {"ingress": [address]}}}, status=True)


@one_node
def endpoint_exposed(scene: Scene) -> None:
    """Each type of Service in turn."""
    scene.apply(endpoint())
    scene.keep(DEMO, "asks-for-the-service", always, hook="customize")
    scene.keep(DEMO, "no-service", told("Available", "False", "does not exist in this namespace"))
    scene.apply(service("model"))
    scene.keep(DEMO, "no-group-is-ready", told("Available", "False", "has no group that is ready yet"))
    scene.keep(DEMO, "cluster-ip", told("Available", "True"))
    scene.edit(DEMO, {"expose": {"type": "NodePort"}})
    scene.keep(DEMO, "node-port", says("of every node leads here"))
    scene.edit(DEMO, {"expose": {"type": "LoadBalancer"}})
    scene.keep(DEMO, "no-address-yet", told("Available", "False", "the load balancer has given no address yet"))
    gives_address(scene, ip="192.0.2.7")
    scene.keep(DEMO, "by-an-address", told("Available", "True", "http://192.0.2.7"))
    gives_address(scene, ip="2001:db8::7")
    scene.keep(DEMO, "by-a-long-address", told("Available", "True", "http://[2001:db8::7]"))
    gives_address(scene, hostname="models.example.com")
    scene.keep(DEMO, "by-a-host-name", told("Available", "True", "http://models.example.com"))
    scene.delete(MODEL)
    scene.keep(DEMO, "the-service-goes", told("Available", "False", "does not exist"))


@one_node
def endpoint_ports(scene: Scene) -> None:
    """Ports that lead to the API, ports that do not, and gRPC."""
    scene.apply(service("model", networking={"ports": {"http": 9000}}))
    scene.apply(endpoint(expose=ports(port(80), port(8080, "own", targetPort=9000), port(81, "grpc", protocol="gRPC"))))
    scene.keep(DEMO, "with-grpc", told("Available", "True"), says("GRPCUnavailable"))
    scene.edit(DEMO, {"expose": ports(port(80), port(82, "wrong", targetPort=1234))})
    scene.keep(DEMO, "one-leads-nowhere", told("Available", "True"), says("PortUnavailable"))
    scene.edit(DEMO, {"expose": ports(port(82, "wrong", targetPort=1234))})
    scene.keep(DEMO, "none-leads-to-the-api", told("Available", "False", "ConfigurationError"))


@one_node
def endpoint_ingress(scene: Scene) -> None:
    """With a host, TLS, annotations that are allowed and not, and switched off again."""
    allowed = {"nginx.ingress.kubernetes.io/proxy-read-timeout": "600"}
    scene.apply(service("model"))
    scene.apply(endpoint(ingress={"enabled": True, "host": "llm.example.com", "annotations": allowed}))
    scene.keep(DEMO, "by-host", told("Available", "True", "http://llm.example.com"))
    scene.edit(DEMO, {"ingress": {"className": "nginx", "tls": {"enabled": True, "secretName": "certificate"}}})
    scene.keep(DEMO, "with-tls", told("Available", "True", "https://llm.example.com"))
    scene.edit(DEMO, {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/server-snippet": "return 200;"}}})
    scene.keep(DEMO, "a-snippet", told("RoutingApplied", "False", "snippet"))
    scene.edit(DEMO, {"ingress": {"tls": {"enabled": False}}})
    scene.keep(DEMO, "tls-switched-off", told("RoutingApplied", "False", "tls"))
    scene.edit(DEMO, {"ingress": {"enabled": False}})
    scene.keep(DEMO, "switched-off", told("Available", "True", ".svc"))


@scenario(nodes=[build_node(0)], settings={"ingress_hosts": "*.{namespace}.example.com"})
def endpoint_hosts(scene: Scene) -> None:
    """Hosts that the administrator gives each namespace."""
    scene.apply(service("model"))
    scene.apply(endpoint(ingress={"enabled": True, "host": "llm.endpoint-hosts.example.com"}))
    scene.keep(DEMO, "of-its-namespace", told("Available", "True", "llm.endpoint-hosts.example.com"))
    scene.edit(DEMO, {"ingress": {"host": "llm.example.com"}})
    scene.keep(DEMO, "of-somebody-else", told("RoutingApplied", "False", "ConfigurationError"))


@one_node
def endpoint_routing(scene: Scene) -> None:
    """What a Service does not do."""
    scene.apply(service("model"))
    check = {"path": "/v1/models", "interval": "10s", "timeout": "1s"}
    scene.apply(endpoint(routing={"strategy": "least-connections", "healthCheck": check}))
    scene.keep(DEMO, "not-applied", told("Available", "True"), told("RoutingApplied", "False", "least-connections"))
    scene.edit(DEMO, {"routing": {"strategy": "weighted", "healthCheck": {"enabled": False}}})
    scene.keep(DEMO, "checks-switched-off", told("RoutingApplied", "False", "cannot be switched off"))


@no_nodes
def endpoint_name_taken(scene: Scene) -> None:
    """Its Service is another's."""
    taken = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo-endpoint"},
        "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]},
    }  # fmt: skip
    scene.apply(taken)
    scene.apply(service("model"))
    scene.apply(endpoint())
    scene.keep(DEMO, "waits-for-its-service", told("ChildConflict", "Unknown"))
    scene.keep(DEMO, "service-is-anothers", told("ChildConflict", "True"))


@no_nodes
def endpoint_unreadable(scene: Scene) -> None:
    """A spec that today's CRD refuses keeps what stands."""
    scene.apply(service("model"))
    scene.apply(endpoint())
    scene.see(DEMO, says("no group that is ready"))
    only_grpc = ports(port(81, "grpc", protocol="gRPC"))
    scene.stored("inferenceendpoints", "InferenceEndpoint", lambda: scene.edit(DEMO, {"expose": only_grpc}))
    scene.keep(DEMO, "refused", told("Available", "False", "ConfigurationError"))


@no_nodes
def endpoint_deleted(scene: Scene) -> None:
    scene.apply(service("model"))
    scene.apply(endpoint())
    scene.see(DEMO, says("no group that is ready"))
    scene.patch("service/demo-endpoint", {"metadata": {"finalizers": ["example.com/held"]}})
    scene.delete(DEMO, "Foreground")
    scene.keep(DEMO, "goes", leaving)
    scene.patch("service/demo-endpoint", {"metadata": {"finalizers": None}})


@no_nodes
def endpoint_finalized(scene: Scene) -> None:
    """An installation whose controller has the finalize hook."""
    with scene.finalizing("inferenceendpoint"):
        scene.apply(endpoint())
        scene.see(DEMO, says("does not exist"))
        scene.delete(DEMO)
        scene.keep(DEMO, "finalized", always, hook="finalize")
