"""A request that makes no sense fails itself alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gpupool.pool import GPU, Pool, gpu_node, request
from tools.sandbox.api import Object

HUGE = 2**53


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"nodes": HUGE}, f"Spec.nodes of the GPURequest is {HUGE}, and may be 1 to 10000", id="nodes"),
        pytest.param({"gpusPerNode": HUGE}, "Spec.gpusPerNode", id="GPUs"),
        pytest.param({"nodes": 0}, "Spec.nodes of the GPURequest is 0", id="no nodes"),
        pytest.param({"nodes": "many"}, "is not a whole number", id="text"),
        pytest.param({"replicas": None}, "Spec.replicas.min of the GPURequest is not a whole number", id="no replicas"),
        pytest.param({"replicas": {"min": HUGE, "max": HUGE}}, "Spec.replicas.min", id="groups"),
        pytest.param(
            {"nodes": 10_000, "replicas": {"min": 1000, "max": 1000}}, "10000000 pods are asked for", id="together"
        ),
        pytest.param({"shapes": [{"product": "MI300X"}]}, "Spec.shapes.0.tensor of the GPURequest", id="no sizes"),
        pytest.param({"shapes": 3}, "Spec.shapes of the GPURequest cannot be read", id="no list of shapes"),
    ],
)
def test_an_absurd_request_is_refused_with_the_number_and_others_are_served(spec: Object, words: str) -> None:
    pool, absurd = Pool(), request("a/absurd", 1)
    absurd["spec"] |= spec
    for _ in range(3):
        phases = pool.sync([gpu_node("n1")], [absurd, request("b/good")])
    assert phases == {"a/absurd": "Impossible", "b/good": "Bound"}
    assert words in pool.allocations["a/absurd"]["message"]


def test_an_absurd_count_of_pods_ends() -> None:
    status = {"groups": HUGE, "unnumbered": HUGE, "unbound": [{"group": HUGE, "pods": HUGE}]}
    asked = request("a/s", 1, status=status, replicas={"min": 1, "max": 1_000_000})
    assert Pool().sync([gpu_node("n1")], [asked]) == {"a/s": "Proposed"}


def test_what_runs_of_it_stays_and_counts_as_used() -> None:
    pool, nodes = Pool(), [gpu_node("n1")]
    for _ in range(3):
        pool.sync(nodes, [request("a/s", 4)])
    before = pool.allocations["a/s"]
    absurd = request("a/s", 4)
    absurd["spec"]["nodes"] = HUGE
    held = [gpu_node("n1", services=[{"namespace": "a", "name": "s", "gpus": 4, "resource": GPU}])]
    for _ in range(3):
        phases = pool.sync(held, [absurd, request("b/t", 5)])
    assert (pool.allocations["a/s"], phases["b/t"]) == (before, "Pending")


plain = st.none() | st.booleans() | st.integers(-HUGE, HUGE) | st.floats(allow_nan=False) | st.text(max_size=8)
flat = plain | st.lists(plain, max_size=3) | st.dictionaries(st.text(max_size=8), plain, max_size=3)
values = flat | st.lists(flat, max_size=3) | st.dictionaries(st.text(max_size=8), flat, max_size=3)
FIELDS = (*request("a/b")["spec"], "excluded", "nodeSelector", "tolerations", "priority", "gated")
STATUS = ("pods", "groups", "unbound", "unnumbered", "failures")
PODS = ("name", "group", "worker", "node", "gpus", "resource")


@given(
    spec=st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=4),
    status=st.dictionaries(st.sampled_from(STATUS), values, max_size=3),
    pod=st.dictionaries(st.sampled_from(PODS), values, max_size=4),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_content_of_one_request_costs_another_its_gpus(spec: Any, status: Any, pod: Any) -> None:
    pool, odd = Pool(), request("a/odd", 1)
    odd["spec"] |= {**spec, "pool": "default"}
    odd["status"] = {"pods": [pod], **status}
    given = copy.deepcopy(odd)
    for _ in range(3):
        phases = pool.sync([gpu_node("n1"), gpu_node("n2")], [odd, request("b/good", priority=2**60)])
    assert phases["b/good"] == "Bound"
    assert odd == given
