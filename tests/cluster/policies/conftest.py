"""A control plane with the CRDs, rights and policies of deploy/, and none of the operator's programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.agent import ACCOUNT, NAMESPACE, rights
from sandbox.cluster import Cluster, wait_until
from sandbox.operator import crds
from sandbox.policies import policies
from tests.cluster.place import cluster_object, service_labels
from tests.cluster.policies.account import Account, Accounts
from tests.cluster.policies.manifests import TEAM, path_of, pod, pod_path, privileged


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
    """The API server learns of policies a moment after they were written, of all at the same time."""
    with ExitStack() as stack:
        accounts = Accounts(cluster, stack)
        agent, metacontroller = accounts.open(NAMESPACE, ACCOUNT), accounts.open_metacontroller()
        labelled = {"metadata": {"labels": {"x": "y"}}}
        wait_until(lambda: agent.merge(pod_path("plain"), labelled) is not None, "the agent is held")
        item = privileged()
        wait_until(lambda: metacontroller.send("POST", path_of(item), item) is not None, "Metacontroller is held")
        yield accounts


@pytest.fixture(scope="package")
def agent(accounts: Accounts) -> Account:
    return accounts.open(NAMESPACE, ACCOUNT)


@pytest.fixture(scope="package")
def metacontroller(accounts: Accounts) -> Account:
    return accounts.open_metacontroller()
