"""The NetworkPolicy of a service, enforced on a real group: what the group uses passes, and nothing else does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.images.conftest import GroupOf
from tests.images.groups import Group
from tests.images.pods import Network, Pod, run
from tests.images.workloads import built
from tests.inferenceservice.service import DISTRIBUTED, call, spec

pytestmark = [
    pytest.mark.groups,
    pytest.mark.skipif(shutil.which("iptables") is None, reason="needs iptables"),
]
STRANGE_PORTS = (2222, 6379, 29490, 29501)


def policy() -> dict[str, Any]:
    found: dict[str, Any] = call(spec(**DISTRIBUTED)).child("NetworkPolicy")["spec"]
    return found


def enforce(group: Group, rules: dict[str, Any]) -> None:
    """What a network plugin makes of it, in each pod's own namespace: connections that no rule allows are refused."""
    for pod in group.pods:
        in_pod = ("ip", "netns", "exec", pod.namespace, "iptables", "--append", "INPUT")
        run(*in_pod, "--in-interface", "lo", "--jump", "ACCEPT")
        run(*in_pod, "--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "--jump", "ACCEPT")
        for rule in rules["ingress"]:
            for source in sources(rule, group):
                for ports in matches(rule):
                    run(*in_pod, *source, *ports, "--jump", "ACCEPT")
        run(*in_pod, "--protocol", "tcp", "--jump", "REJECT", "--reject-with", "tcp-reset")


def sources(rule: dict[str, Any], group: Group) -> Iterator[tuple[str, ...]]:
    """Every pod of this network is of the service, the hub is not."""
    if "from" not in rule:
        yield ()
        return
    labels = policy()["podSelector"]
    assert rule["from"] == [{"podSelector": labels}]
    for pod in group.pods:
        assert labels["matchLabels"].items() <= {**pod.template["metadata"]["labels"]}.items()
        yield ("--source", pod.ip)


def matches(rule: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    if "ports" not in rule:
        yield ()
    for port in rule.get("ports", ()):
        yield ("--protocol", port["protocol"].lower(), "--dport", str(port["port"]))


def open_ports(network: Network, pod: Pod, ports: tuple[int, ...]) -> set[int]:
    """Ports where a stranger gets a connection."""
    script = (
        "import socket,sys\n"
        "for p in sys.argv[2:]:\n"
        " try: socket.create_connection((sys.argv[1],int(p)),2).close(); print(p)\n"
        " except OSError: pass\n"
    )
    said = network.execute("python3", "-c", script, pod.ip, *map(str, ports))
    return {int(port) for port in said.split()}


@pytest.mark.parametrize("mode", ["native", "mpi"])
@pytest.mark.usefixtures("mpi_parts", "keys")
def test_a_group_works_behind_its_policy_and_strangers_reach_the_api_alone(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(3, mode))
    enforce(group, policy())
    group.start()
    group.wait_healthy()
    assert group.complete("Hello")
    assert group.network.ask(group.leader, "/metrics")[0] == 200
    for pod in group.pods:
        listening = pod.listening()
        assert open_ports(group.network, pod, (*STRANGE_PORTS, *listening)) == (
            {8000} if pod is group.leader else set()
        )


@pytest.mark.usefixtures("mpi_parts", "keys")
def test_without_the_policy_strangers_reach_more(group_of: GroupOf) -> None:
    """So the test above can fail."""
    group = group_of(built(2, "mpi")).start()
    group.wait_healthy()
    assert {2222} <= open_ports(group.network, group.workers[0], (2222,))
    assert {8000, 29501} <= open_ports(group.network, group.leader, (8000, 29501))


def test_a_group_fails_behind_a_policy_that_forgets_its_own_pods(group_of: GroupOf) -> None:
    group = group_of(built(2), INFERENCE_JOIN_SECONDS="2")
    enforce(group, {"ingress": policy()["ingress"][1:]})
    group.start()
    assert group.leader.wait(50) == 75
