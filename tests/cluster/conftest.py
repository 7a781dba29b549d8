"""One control plane and one operator for all cluster tests; every test has a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.world import World
from tools.sandbox.cluster import Cluster
from tools.sandbox.operator import Operator

_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="package")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with (
        Cluster.start(Path(tmp_path_factory.mktemp("cluster"))) as cluster,
        Operator.start(cluster, resync_seconds=5) as running,
    ):
        yield running


@pytest.fixture
def world(operator: Operator) -> Iterator[World]:
    """A fresh namespace; its GPUs are given back afterwards, so that the four nodes serve every test."""
    world = World(operator, f"test-{next(_numbers)}")
    world.create_namespace(world.namespace)
    yield world
    world.remove_services()
