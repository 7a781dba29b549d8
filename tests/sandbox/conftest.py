"""One control plane for all tests of the sandbox itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.sandbox.cluster import Cluster

_numbers = itertools.count()


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.start(Path(tmp_path_factory.mktemp("sandbox")), nodes=2) as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own, ready for pods."""
    name = f"test-{next(_numbers)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.wait_for("v1", "ServiceAccount", "default", name, lambda _: True)
    return name
