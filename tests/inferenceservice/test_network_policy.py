"""Who may reach a service's pods; tests/images/test_ports.py tries the rules on real groups."""

from __future__ import annotations

from typing import Any

import pytest

from app.settings import Settings
from tests.calls import NAMESPACE, stored
from tests.inferenceservice.service import DISTRIBUTED, call, spec, workload


@pytest.mark.parametrize("kind", [pytest.param({}, id="one node"), pytest.param(DISTRIBUTED, id="a group")])
def test_pods_reach_each_other_on_all_ports_and_others_reach_the_api_alone(kind: dict[str, Any]) -> None:
    policy = call(spec(**kind)).child("NetworkPolicy")["spec"]
    own = {"matchLabels": {"inference.ai/service": "demo"}}
    assert policy == {
        "podSelector": own,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": own}]}, {"ports": [{"port": 8000, "protocol": "TCP"}]}],
    }


def test_named_namespaces_and_the_services_own_reach_the_api() -> None:
    policy = call(spec(), settings=Settings(client_namespaces=("monitoring", "ingress-nginx")))
    [_, rule] = policy.child("NetworkPolicy")["spec"]["ingress"]
    names = sorted(["ingress-nginx", "monitoring", NAMESPACE])
    among = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}
    assert rule == {
        "from": [{"namespaceSelector": {"matchExpressions": [among]}}],
        "ports": [{"port": 8000, "protocol": "TCP"}],
    }


@pytest.mark.parametrize(
    "given", [spec(vllm={"engineArgs": {"host": "x"}}), {"model": 3}], ids=["blocked", "a spec that cannot be read"]
)
def test_a_service_that_changes_nothing_is_reached_by_the_same(given: dict[str, Any]) -> None:
    narrow = Settings(client_namespaces=("monitoring",))
    before = call(spec(), settings=narrow).child("NetworkPolicy")
    kept = call(given, children=[stored(before)], settings=narrow).child("NetworkPolicy")
    assert kept["spec"] == before["spec"]


def test_the_policy_is_about_leaders_and_workers() -> None:
    answer = call(spec(**DISTRIBUTED))
    wanted = answer.child("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    templates = workload(answer)["spec"]["leaderWorkerTemplate"]
    for role in ("leaderTemplate", "workerTemplate"):
        assert wanted.items() <= templates[role]["metadata"]["labels"].items()
