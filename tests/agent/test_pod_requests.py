"""GPUs are counted as the kube-scheduler counts them."""

from __future__ import annotations

from typing import Any

import pytest

from app.agent.pod_requests import parse_pod_requests
from tests.agent.build import GPU, container

SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "gpus"),
    [
        pytest.param({"containers": [container(2), container(3)]}, 5, id="containers add up"),
        pytest.param(
            {"containers": [container(2)], "initContainers": [container(1), container(1)]},
            2,
            id="init containers that need less do not count",
        ),
        pytest.param(
            {"containers": [container(2)], "initContainers": [container(4), container(3)]},
            4,
            id="the largest init container counts when it needs more",
        ),
        pytest.param(
            {"containers": [container(2)], "initContainers": [container(1, **SIDECAR)]},
            3,
            id="sidecars add up",
        ),
        pytest.param(
            {"containers": [container(1)], "initContainers": [container(2, **SIDECAR), container(3)]},
            5,
            id="an init container runs beside the sidecars before it",
        ),
        pytest.param(
            {"containers": [container(1)], "initContainers": [container(3), container(2, **SIDECAR)]},
            3,
            id="an init container does not run beside the sidecars after it",
        ),
        pytest.param({"containers": [container(2)], "overhead": {GPU: "1"}}, 3, id="overhead comes on top"),
        pytest.param(
            {"containers": [{"resources": {"limits": {GPU: "4"}}}]}, 4, id="a limit alone is the request as well"
        ),
        pytest.param({"containers": [{"resources": {"limits": {GPU: "many"}}}]}, 0, id="nonsense counts as nothing"),
        pytest.param({"containers": [container(0)]}, 0, id="no GPUs"),
        pytest.param({}, 0, id="a pod without spec"),
    ],
)
def test_the_effective_request_of_a_pod(spec: dict[str, Any], gpus: int) -> None:
    assert sum(count for _, count in parse_pod_requests({"spec": spec}, GPU)) == gpus


@pytest.mark.parametrize(
    ("resource", "counts"),
    [
        ("amd.com/gpu", True),
        ("amd.com/cpx_nps4", True),
        ("amd.com/nic", False),
        ("nvidia.com/gpu", False),
        ("cpu", False),
    ],
)
def test_every_resource_of_amd_is_a_gpu_but_for_network_cards(resource: str, counts: bool) -> None:
    spec = {"containers": [{"resources": {"limits": {resource: "3"}}}]}
    assert parse_pod_requests({"spec": spec}, GPU) == (((resource, 3),) if counts else ())


def test_the_configured_resource_counts_whatever_its_name() -> None:
    spec = {"containers": [{"resources": {"limits": {"example.org/gpu": "1"}}}]}
    assert parse_pod_requests({"spec": spec}, "example.org/gpu") == (("example.org/gpu", 1),)
