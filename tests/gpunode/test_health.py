"""Unhealthy GPUs, taints and readiness."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpunode.asked import GPU, labeller, node, spec_of
from tools.sandbox.api import Object

MI300X = labeller(device_id="74a1")
SICK = {"metricsexporter.amd.com.gpu.2.state": "unhealthy", "metricsexporter.amd.com.gpu.3.state": "healthy"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def health(asked: Object) -> tuple[int, int, int | None]:
    spec = spec_of(asked)
    [resource] = spec["resources"]
    return resource["gpus"], resource["capacity"], spec.get("unhealthyGpus")


def test_healthy_gpus_are_all_there() -> None:
    assert health(node(MI300X, {GPU: 8})) == (8, 8, None)


def test_the_device_plugin_takes_an_unhealthy_gpu_out() -> None:
    assert health(node(MI300X, {GPU: 7}, capacity={GPU: 8})) == (7, 8, 1)


def test_one_gpu_is_not_counted_twice() -> None:
    asked = node(MI300X | SICK, {GPU: 7}, capacity={GPU: 8})
    assert health(asked) == (7, 8, 1)
    assert "contradictions" not in spec_of(asked)


def test_a_gpu_that_only_the_exporter_calls_unhealthy_is_not_usable() -> None:
    asked = node(MI300X | SICK, {GPU: 8})
    assert health(asked) == (7, 8, 1)
    assert spec_of(asked)["contradictions"] == [
        "AMD's metrics exporter calls 1 GPU unhealthy, the device plugin 0 of 8 amd.com/gpu: the exporter counts."
    ]


def test_an_unhealthy_gpu_takes_its_partitions_with_it() -> None:
    assert health(node(MI300X | SICK, {"amd.com/cpx_nps4": 64})) == (56, 64, 8)


def test_no_more_gpus_are_missing_than_there_are() -> None:
    sick = {f"metricsexporter.amd.com.gpu.{index}.state": "unhealthy" for index in range(9)}
    assert health(node(MI300X | sick, {GPU: 8}))[0] == 0


@pytest.mark.parametrize(
    ("taints", "unschedulable", "expected"),
    [
        pytest.param([], False, None, id="none"),
        pytest.param(
            [
                {"key": "b", "value": "x", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
                {"key": "a", "value": "", "effect": "PreferNoSchedule"},
            ],
            False,
            [{"key": "a", "effect": "PreferNoSchedule"}, {"key": "b", "value": "x", "effect": "NoExecute"}],
            id="sorted, without times",
        ),
        pytest.param([], True, [CORDON], id="cordoned just now"),
        pytest.param([CORDON], True, [CORDON], id="cordoned"),
        pytest.param([{"key": "a", "effect": "Whatever"}, "b"], False, None, id="misshapen"),
    ],
)
def test_taints(taints: Any, unschedulable: bool, expected: Any) -> None:
    assert spec_of(node(MI300X, {GPU: 8}, taints=taints, unschedulable=unschedulable)).get("taints") == expected


def ready(status: str, since: str | None = "2026-02-02T00:00:00Z") -> list[Object]:
    return [{"type": "Ready", "status": status} | ({"lastTransitionTime": since} if since else {})]


@pytest.mark.parametrize(
    ("conditions", "since"),
    [
        pytest.param(ready("True"), None, id="ready"),
        pytest.param(ready("False"), "2026-02-02T00:00:00Z", id="not ready"),
        pytest.param(ready("Unknown"), "2026-02-02T00:00:00Z", id="kubelet is silent"),
        pytest.param([], "2026-01-01T00:00:00Z", id="never reported"),
        pytest.param(ready("False", None), "2026-01-01T00:00:00Z", id="without a time"),
        pytest.param(ready("False", "yesterday"), "2026-01-01T00:00:00Z", id="with no time"),
    ],
)
def test_since_when_a_node_is_not_ready(conditions: list[Object], since: str | None) -> None:
    assert spec_of(node(MI300X, {GPU: 8}, conditions=conditions)).get("notReadySince") == since


def test_a_node_in_a_file_is_taken_for_ready() -> None:
    asked = node(MI300X, {GPU: 8}, conditions=[])
    del asked["metadata"]["creationTimestamp"]
    assert "notReadySince" not in spec_of(asked)
