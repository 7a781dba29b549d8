"""One control plane for all tests of one pool, for what others run there would be in the way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.pools.pool import NODES, pool
from tests.cluster.world import World
from tools.sandbox.cluster import Cluster, wait_until
from tools.sandbox.operator import Operator

_numbers = itertools.count()


@pytest.fixture(scope="package")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A cluster of its own: what others run there would be in the way."""
    with (
        Cluster.start(Path(tmp_path_factory.mktemp("pooled")), nodes=NODES) as cluster,
        Operator.start(cluster, resync_seconds=5) as running,
    ):
        yield running


@pytest.fixture
def world(pooled: Operator) -> Iterator[World]:
    world = World(pooled, f"pool-{next(_numbers)}")
    world.create_namespace(world.namespace)
    yield world
    world.remove_services()
    wait_until(lambda: pool(world)["status"]["free"] == pool(world)["status"]["gpus"], "all GPUs are free")
