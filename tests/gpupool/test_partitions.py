"""Whole GPUs and partitions of them are different things, also for a model of which nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpupool.pool import GPU, Pool, gpu_node, request
from tools.sandbox.api import Object

ANY = [{"tensor": 1, "pipeline": 1, "data": 1}]
CUT = [{"product": "MI300X-CPX-NPS4", "tensor": 1, "pipeline": 1, "data": 1}]


def cut(name: str, resource: str = GPU, mode: str = "cpx_nps4", **spec: Any) -> Object:
    parts = {"name": resource, "gpus": 64, "capacity": 64, "partition": mode}
    return gpu_node(name, resources=[parts], **spec)


def test_a_service_that_asks_for_no_partition_gets_whole_gpus() -> None:
    pool = Pool()
    wanted = request("a/b", 8, shapes=ANY)
    pool.sync([cut("cut-0"), gpu_node("whole-0")], [wanted])
    assert set(pool.hosts("a/b")) == {"whole-0"}
    [rule] = pool.allocations["a/b"]["poolNodes"]
    assert rule == {"key": "inference.ai/gpu-partition", "operator": "NotIn", "values": ["cpx_nps4"]}


def test_where_there_are_partitions_alone_it_waits_for_nothing_and_is_told() -> None:
    pool = Pool()
    assert pool.sync([cut("cut-0")], [request("a/b", 8, shapes=ANY)]) == {"a/b": "Impossible"}
    assert "offers partitions (cpx_nps4), and whole GPUs were asked for" in str(pool.allocations["a/b"])


def test_a_service_that_names_a_partition_gets_no_whole_gpus() -> None:
    pool = Pool()
    pool.sync([cut("cut-0"), gpu_node("whole-0")], [request("a/b", 8, shapes=CUT)])
    assert set(pool.hosts("a/b")) == {"cut-0"}
    assert "poolNodes" not in pool.allocations["a/b"]
    assert Pool().sync([gpu_node("whole-0")], [request("a/b", 8, shapes=CUT)]) == {"a/b": "Impossible"}


def test_a_resource_that_is_named_after_the_mode_says_it_by_itself() -> None:
    pool = Pool()
    name = "amd.com/cpx_nps4"
    pool.sync([cut("cut-0", name), gpu_node("whole-0")], [request("a/b", 8, resource=name, shapes=ANY)])
    assert set(pool.hosts("a/b")) == {"cut-0"}
    assert "poolNodes" not in pool.allocations["a/b"]


@pytest.mark.parametrize("mode", ["spx_nps1", "spx_nps2"])
def test_a_gpu_in_one_piece_is_whole(mode: str) -> None:
    pool = Pool()
    pool.sync([cut("spx-0", mode=mode)], [request("a/b", 8, shapes=ANY)])
    assert set(pool.hosts("a/b")) == {"spx-0"}
    assert "poolNodes" not in pool.allocations["a/b"]
