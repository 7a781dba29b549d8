"""A control plane with the CRDs, rights and policies of deploy/, and none of the operator's programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.place import cluster_object, service_labels
from tests.cluster.policies.account import Account, Accounts
from tests.cluster.policies.manifests import TEAM, pod
from tools.sandbox.agent import ACCOUNT, NAMESPACE, rights, wait_rights
from tools.sandbox.cluster import Cluster
from tools.sandbox.operator import crds
from tools.sandbox.policies import policies, wait_held


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with CRDs, rights and policies, and no program of ours."""
    with Cluster.start(Path(tmp_path_factory.mktemp("policies")), nodes=1) as cluster:
        cluster.apply([*crds(), *rights(), *policies({"INFERENCE_HOST_PATH_PREFIXES": "/mnt/models, /data/,/"})])
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
        cluster.apply(cluster_object("GPUPool", "default", {}))
        for namespace in (TEAM, "kube-system"):
            cluster.wait_for("v1", "ServiceAccount", "default", namespace, lambda _: True)
            cluster.apply(pod("plain", namespace))
        cluster.apply(pod("gated", TEAM, labels=service_labels(), gated=True))
        yield cluster


@pytest.fixture(scope="package")
def accounts(cluster: Cluster) -> Iterator[Accounts]:
    """The API server learns of policies and rights a moment after they were written."""
    wait_held(cluster)
    wait_rights(cluster)
    with ExitStack() as stack:
        yield Accounts(cluster, stack)


@pytest.fixture(scope="package")
def agent(accounts: Accounts) -> Account:
    return accounts.open(NAMESPACE, ACCOUNT)


@pytest.fixture(scope="package")
def metacontroller(accounts: Accounts) -> Account:
    return accounts.open_metacontroller()
