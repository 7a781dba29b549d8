"""Ingresses have the annotations and hosts that the administrator lists; the rest is left out, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.kube.manifest import Manifest
from app.settings import Settings
from tests.calls import Answer
from tests.inferenceendpoint import endpoint
from tests.inferenceservice import service

NGINX = "nginx.ingress.kubernetes.io/"
OWN_HOSTS = Settings(ingress_hosts=("*.{namespace}.example.com",))
ANY = Settings(ingress_annotations=("*",))


class Kind:
    """A kind that offers an Ingress, and the condition that tells of it."""

    def __init__(
        self, condition: str, call: Callable[..., Answer], spec: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        self.condition, self._call, self._spec = condition, call, spec

    def call(self, ingress: dict[str, Any], **options: Any) -> Answer:
        return self._call(self._spec({"enabled": True, "host": "a.example"} | ingress), **options)

    def annotated(self, given: dict[str, str], **options: Any) -> Answer:
        return self.call({"annotations": given}, **options)

    def told(self, answer: Answer) -> str:
        found = answer.condition(self.condition)
        assert (found["status"], found["reason"]) == ("False", "ConfigurationError")
        return found["message"]


KINDS = {
    "InferenceService": Kind(
        "SpecApplied", service.call, lambda ingress: service.spec(networking={"ingress": ingress})
    ),
    "InferenceEndpoint": Kind("RoutingApplied", endpoint.call, lambda ingress: endpoint.spec(ingress=ingress)),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def annotations_of(answer: Answer) -> dict[str, str]:
    found = answer.child("Ingress")["metadata"].get("annotations", {})
    return {name: value for name, value in found.items() if not name.startswith("inference.ai/")}


def standing(answer: Answer) -> list[Manifest]:
    return [child for child in answer.children if child["kind"] == "Ingress"]


@pytest.mark.parametrize(
    "name",
    [
        *(NGINX + it for it in (
            "configuration-snippet", "server-snippet", "stream-snippet", "auth-snippet", "modsecurity-snippet",
            "auth-url", "auth-signin", "auth-tls-secret", "auth-tls-match-cn", "auth-proxy-set-headers", "auth-secret",
            "mirror-target", "mirror-host", "mirror-request-body", "permanent-redirect", "temporal-redirect",
            "server-alias", "upstream-vhost", "rewrite-target", "proxy-ssl-secret", "proxy-set-headers",
            "proxy-redirect-from", "proxy-cookie-path", "canary", "custom-headers", "default-backend",
            "x-forwarded-prefix", "enable-global-auth", "cors-allow-origin", "fastcgi-params-configmap", "limit",
            "service-upstream",
        )),
        "nginx.org/server-snippets", "nginx.org/location-snippets", "nginx.com/jwt-key",
        "haproxy.org/backend-config-snippet", "haproxy.org/auth-secret", "haproxy.org/request-redirect",
        "haproxy-ingress.github.io/config-backend", "haproxy-ingress.github.io/auth-url",
        "haproxy-ingress.github.io/config-frontend", "ingress.kubernetes.io/auth-url",
        "traefik.ingress.kubernetes.io/router.middlewares", "traefik.ingress.kubernetes.io/router.entrypoints",
        "traefik.ingress.kubernetes.io/service.serversscheme", "alb.ingress.kubernetes.io/group.name",
        "alb.ingress.kubernetes.io/auth-idp-oidc", "alb.ingress.kubernetes.io/actions.redirect",
        "alb.ingress.kubernetes.io/scheme", "alb.ingress.kubernetes.io/load-balancer-attributes",
        "konghq.com/plugins", "konghq.com/override", "external-dns.alpha.kubernetes.io/hostname",
        "projectcontour.io/websocket-routes", "kubernetes.io/ingress.allow-http", "cert-manager.io/common-name",
        "metacontroller.k8s.io/last-applied-configuration", "anything.example/else", "kubectl.kubernetes.io/x",
    ],
)  # fmt: skip
def test_an_annotation_that_is_not_listed_is_left_out_and_said(kind: Kind, name: str) -> None:
    answer = kind.annotated({name: "x", f"{NGINX}proxy-body-size": "10m"})
    assert annotations_of(answer) == {f"{NGINX}proxy-body-size": "10m"}
    assert f"annotations: {name} left out" in kind.told(answer)
    assert "INFERENCE_INGRESS_ANNOTATIONS" in kind.told(answer)


@pytest.mark.parametrize(
    "value",
    [
        *("10m;\n}\nserver {", "1; proxy_pass http://x", "{", "a\nb", "a\x00", "a`b", "a\\b"),
        *("10m #", "$host", "10m 'x", '10m "', "10m\x85x", "10m\u2028x"),
    ],
)
def test_a_listed_annotation_cannot_break_out_of_its_line(kind: Kind, value: str) -> None:
    answer = kind.annotated({f"{NGINX}proxy-body-size": value})
    assert annotations_of(answer) == {}
    assert "left out" in kind.told(answer)


def test_a_pattern_admits_no_snippet_but_its_whole_name_does(kind: Kind) -> None:
    snippet = {f"{NGINX}configuration-snippet": "more_set_headers x;"}
    assert annotations_of(kind.annotated(snippet, settings=ANY)) == {}
    named = Settings(ingress_annotations=("*", f"{NGINX}configuration-snippet"))
    assert annotations_of(kind.annotated(snippet, settings=named)) == snippet
    assert annotations_of(kind.annotated({"a.example/b": "c"}, settings=ANY)) == {"a.example/b": "c"}


def test_no_list_admits_nothing(kind: Kind) -> None:
    answer = kind.annotated({f"{NGINX}proxy-body-size": "1m"}, settings=Settings(ingress_annotations=()))
    assert annotations_of(answer) == {}
    assert "allowed are none like them" in kind.told(answer)


def test_what_an_ingress_had_before_stays_and_is_said_unless_it_is_code_or_leads_elsewhere(kind: Kind) -> None:
    harmless = {f"{NGINX}affinity": "cookie", "a.example/b": "c"}
    had = harmless | {f"{NGINX}server-snippet": "x", f"{NGINX}auth-url": "http://x"}
    everything = Settings(ingress_annotations=tuple(had))
    before = standing(kind.annotated(had, settings=everything))
    answer = kind.annotated(had, children=before)
    assert annotations_of(answer) == harmless
    told = kind.told(answer)
    assert f"annotations: {NGINX}auth-url, {NGINX}server-snippet left out" in told
    assert f"a.example/b, {NGINX}affinity not allowed, but kept, because the Ingress had it before" in told
    assert annotations_of(kind.annotated(had | {"a.example/b": "other"}, children=before)) == {
        f"{NGINX}affinity": "cookie"
    }


def test_what_stands_while_a_spec_cannot_be_built_loses_its_code_too() -> None:
    """A snippet of before must not outlive the rule by an edit that blocks the service, or that is refused."""
    had = {f"{NGINX}affinity": "cookie", f"{NGINX}server-snippet": "x"}
    everything = Settings(ingress_annotations=tuple(had))
    good = service.spec(networking={"ingress": {"enabled": True, "host": "a.example", "annotations": had}})
    before = service.observed(service.call(good, settings=everything))
    broken: dict[str, Any]
    for broken in ({"vllm": {"engineArgs": {"host": "x"}}}, {"model": {}}):
        answer = service.call(good | broken, children=before)
        assert annotations_of(answer) == {f"{NGINX}affinity": "cookie"}
    assert annotations_of(service.call(good | broken, children=before, settings=everything)) == had


@pytest.mark.parametrize("host", ["a.ns.example.com", "llama-2.ns.example.com"])
def test_a_host_that_is_listed_for_the_namespace_gets_its_ingress(kind: Kind, host: str) -> None:
    assert kind.call({"host": host}, settings=OWN_HOSTS).child("Ingress")["spec"]["rules"][0]["host"] == host


@pytest.mark.parametrize(
    "host",
    [
        "victim.example.com", "a.other.example.com", "ns.example.com", "a.b.ns.example.com", "a.ns.example.com.evil.io",
        "axns.example.com", "a.nsxexample.com", "a.ns.example.comx", "localhost",
    ],
)  # fmt: skip
def test_a_host_that_is_not_listed_gets_none_and_it_is_said(kind: Kind, host: str) -> None:
    answer = kind.call({"host": host}, settings=OWN_HOSTS)
    assert "Ingress" not in answer.kinds()
    assert f"host: {host} is not allowed in namespace ns; allowed are *.ns.example.com" in kind.told(answer)
    assert host not in str({key: value for key, value in answer.status.items() if key != "conditions"})


def test_the_service_goes_on_without_its_ingress() -> None:
    answer = KINDS["InferenceService"].call({"host": "victim.example.com"}, settings=OWN_HOSTS)
    assert service.workload(answer)
    assert answer.child("Service")


def test_an_ingress_that_stood_before_the_hosts_were_listed_stays_and_is_said(kind: Kind) -> None:
    before = standing(kind.call({"host": "old.example.com"}))
    answer = kind.call({"host": "old.example.com"}, children=before, settings=OWN_HOSTS)
    assert answer.child("Ingress")["spec"] == before[0]["spec"]
    assert "it stays, because the Ingress had it before" in kind.told(answer)
    assert "Ingress" not in kind.call({"host": "new.example.com"}, children=before, settings=OWN_HOSTS).kinds()


def test_the_samples_pass_by_default() -> None:
    sample = yaml.safe_load((Path(__file__).parents[2] / "deploy/examples/llama2-endpoint.yaml").read_text())
    answer = endpoint.call(sample["spec"])
    assert annotations_of(answer) == sample["spec"]["ingress"]["annotations"]
    assert answer.conditions()["RoutingApplied"] == ("True", "Successful")


def test_what_is_switched_off_is_not_judged(kind: Kind) -> None:
    answer = kind.call({"enabled": False, "annotations": {f"{NGINX}auth-url": "x"}}, settings=OWN_HOSTS)
    assert "left out" not in str(answer.status)
