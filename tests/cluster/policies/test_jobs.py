"""The accounts of downloads and of the Job that makes ssh keys."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.policies.account import Account, Accounts
from tests.cluster.policies.manifests import OWNER, RBAC, REF, SUBJECT, TEAM, job, rule
from tests.cluster.world import API
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster


@pytest.fixture(scope="module")
def downloader(cluster: Cluster, accounts: Accounts) -> Account:
    """As children.py makes it, with the right to patch its Job; and a Job of another cache."""
    grant = rule("batch", "jobs", "get", "patch", resourceNames=["demo-download-9", "other-download-9"])
    found = _jobs_account(cluster, accounts, "demo-downloader", grant)
    cluster.wait_allowed(
        f"system:serviceaccount:{TEAM}:demo-downloader", "patch", "jobs.batch", TEAM, "demo-download-9"
    )
    return found


def _jobs_account(cluster: Cluster, accounts: Accounts, name: str, grant: Object) -> Account:
    place = {"name": name, "namespace": TEAM}
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place},
            {"apiVersion": RBAC, "kind": "Role", "metadata": place, "rules": [grant]},
            {
                "apiVersion": RBAC,
                "kind": "RoleBinding",
                "metadata": place,
                "roleRef": REF | {"name": name},
                "subjects": [SUBJECT | {"name": name}],
            },
        ]
    )
    return accounts.open(TEAM, name)


@pytest.fixture(scope="module")
def jobs(cluster: Cluster) -> str:
    """Of caches that exist: what belongs to nothing is removed sooner or later."""
    for of in ("demo", "other"):
        metadata = {"name": of, "namespace": TEAM}
        cache = {"apiVersion": API, "kind": "ModelCache", "metadata": metadata, "spec": {"modelName": "org/tiny"}}
        [owner] = cluster.apply(cache)
        item = job(f"{of}-download-9", of=of)
        item["metadata"]["ownerReferences"][0] |= {"uid": owner["metadata"]["uid"], "controller": False}
        item["metadata"]["labels"] |= {"inference.ai/cache": of} if of == "demo" else {}
        cluster.apply(item | {"spec": item["spec"] | {"suspend": True}})
    return f"/apis/batch/v1/namespaces/{TEAM}/jobs"


def test_the_agent_says_on_jobs_of_downloads_why_they_wait_and_nothing_else(agent: Account, jobs: str) -> None:
    problem = {"metadata": {"annotations": {"inference.ai/pod-problem": "FailedMount: x"}}}
    assert agent.merge(f"{jobs}/demo-download-9", problem) is None
    assert "only Jobs of downloads" in str(agent.merge(f"{jobs}/other-download-9", problem))
    for body, says in (
        ({"metadata": {"annotations": {"inference.ai/download-report": "{}"}}}, "pod-problem"),
        ({"metadata": {"labels": {"controller-uid": "x"}}}, "pod-problem"),
        ({"metadata": {"ownerReferences": None}}, "pod-problem"),
        ({"metadata": {"finalizers": ["x.example/y"]}}, "pod-problem"),
        ({"spec": {"suspend": False}}, "spec"),
        ({"spec": {"parallelism": 9}}, "spec"),
    ):
        assert says in str(agent.merge(f"{jobs}/demo-download-9", body)), body


def test_a_downloader_reports_on_its_job_and_changes_nothing_else(downloader: Account, jobs: str) -> None:
    report = {"metadata": {"annotations": {"inference.ai/download-report": "{}"}}}
    assert downloader.merge(f"{jobs}/demo-download-9", report) is None
    assert "own ModelCache" in str(downloader.merge(f"{jobs}/other-download-9", report))
    for body, says in (
        ({"metadata": {"annotations": {"metacontroller.k8s.io/last-applied-configuration": "{}"}}}, "annotation"),
        ({"metadata": {"labels": {"controller-uid": "x"}}}, "annotation"),
        ({"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}, "annotation"),
        ({"metadata": {"ownerReferences": None}}, "annotation"),
        ({"metadata": {"finalizers": ["x.example/y"]}}, "annotation"),
        ({"spec": {"suspend": False}}, "spec"),
        ({"spec": {"parallelism": 9}}, "spec"),
    ):
        assert says in str(downloader.merge(f"{jobs}/demo-download-9", body)), body


def secret(name: str = "demo-ssh-keys", kind: str = "kubernetes.io/ssh-auth", **more: Any) -> Object:
    owner = {"apiVersion": API, "kind": "InferenceService", "name": "demo", "uid": OWNER["uid"]}
    metadata = {"name": name, "namespace": TEAM, "ownerReferences": [owner]}
    body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "immutable": True, "data": {"ssh-privatekey": "a2V5"}}
    return body | {"metadata": metadata} | more


def test_the_account_of_keys_makes_its_secret_and_no_other(cluster: Cluster, accounts: Accounts) -> None:
    keys = _jobs_account(cluster, accounts, "demo-ssh-keys", rule("", "secrets", "create"))
    cluster.wait_allowed(f"system:serviceaccount:{TEAM}:demo-ssh-keys", "create", "secrets", TEAM)
    path = f"/api/v1/namespaces/{TEAM}/secrets"
    assert keys.send("POST", path, secret()) is None
    annotations = {"kubernetes.io/service-account.name": "default"}
    token = {"name": "demo-ssh-keys", "annotations": annotations}
    for item, says in (
        (secret("other"), "own name"),
        (secret(metadata={"generateName": "demo-"}), "own name"),
        (secret(kind="Opaque"), "ssh-auth"),
        (secret(kind="kubernetes.io/service-account-token", data={}, metadata=token), "ssh-auth"),
        (secret(data={"ssh-privatekey": "a2V5", "more": "a2V5"}), "ssh-auth"),
        (secret(immutable=False), "ssh-auth"),
        (secret(metadata={"name": "demo-ssh-keys"}), "belongs"),
    ):
        assert says in str(keys.send("POST", path, item)), item
