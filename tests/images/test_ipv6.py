"""Pods with addresses of IPv6 alone, and with both families."""

from __future__ import annotations

import pytest

from tests.images.conftest import GroupOf
from tests.images.workloads import built

pytestmark = pytest.mark.groups
ONLY_IPV6 = pytest.mark.parametrize("network", [pytest.param((6,), id="IPv6 only")], indirect=True)


@ONLY_IPV6
@pytest.mark.parametrize("nodes", [pytest.param(1, id="one node"), pytest.param(3, id="three nodes")])
def test_a_group_serves_where_there_is_no_other_address(group_of: GroupOf, nodes: int) -> None:
    group = group_of(built(nodes)).start()
    group.wait_healthy()
    assert group.complete("Hello")
    assert "--host=::" in group.leader.logged()
    for probe in ("startupProbe", "readinessProbe"):
        command = group.leader.container[probe]["exec"]["command"]
        assert group.leader.execute(*command).returncode == 0
    group.leader.signal(15)
    assert group.leader.wait(50) == 0


@ONLY_IPV6
def test_the_leaders_ssh_reaches_workers_by_their_only_address(
    group_of: GroupOf, mpi_parts: None, keys: object
) -> None:
    group = group_of(built(2, "mpi")).start()
    group.wait_healthy()
    assert group.complete("Hello")


@ONLY_IPV6
def test_a_worker_that_is_missing_is_named(group_of: GroupOf) -> None:
    group = group_of(built(2), INFERENCE_JOIN_SECONDS="2")
    group.leader.start()
    assert group.leader.wait(50) == 75
    assert group.leader.message() == "join: 1 of 1 worker has not joined (group-0-1.group-0.models) within 2 s"


@pytest.mark.parametrize(
    "network", [pytest.param((4, 6), id="IPv4 first"), pytest.param((6, 4), id="IPv6 first")], indirect=True
)
def test_both_families_are_served_where_the_pod_has_both(group_of: GroupOf) -> None:
    group = group_of(built(2)).start()
    group.wait_healthy()
    for family in (4, 6):
        assert group.network.ask(group.leader, "/health", family=family)[0] == 200


def test_where_there_is_ipv4_alone_vllms_own_default_stays(group_of: GroupOf) -> None:
    group = group_of(built(1)).start()
    group.wait_healthy()
    assert "--host" not in group.leader.logged()
