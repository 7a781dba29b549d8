"""Who may reach a service's pods; tests/images/test_ports.py tries the rules on real groups."""

from __future__ import annotations

from typing import Any

import pytest

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


def test_the_policy_is_about_leaders_and_workers() -> None:
    answer = call(spec(**DISTRIBUTED))
    wanted = answer.child("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    templates = workload(answer)["spec"]["leaderWorkerTemplate"]
    for role in ("leaderTemplate", "workerTemplate"):
        assert wanted.items() <= templates[role]["metadata"]["labels"].items()
