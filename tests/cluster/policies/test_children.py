"""Other objects that Metacontroller writes for the operator, and whose they are."""

from __future__ import annotations

import copy

import pytest

from tests.cluster.policies.account import Account
from tests.cluster.policies.manifests import (
    IMAGE,
    OWNER,
    binding,
    child,
    deployment,
    network,
    path_of,
    pod_path,
    privileged,
    role,
    rule,
    service,
)
from tests.cluster.world import API
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster


@pytest.mark.parametrize(
    "item",
    [
        role(rule("", "secrets", "create")),
        role(rule("batch", "jobs", "get", "patch", resourceNames=["demo-download-1"])),
        binding(),
        service(),
        service(type="LoadBalancer"),
        network({"matchLabels": {"inference.ai/service": "demo"}}),
        child("ServiceAccount", "demo-ssh-keys", "v1", automountServiceAccountToken=False),
    ],
    ids=lambda it: it["kind"],
)
def test_metacontroller_makes_children_of_ours(metacontroller: Account, item: Object) -> None:
    assert metacontroller.send("POST", path_of(item), item) is None


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (role(rule("", "secrets", "get")), "grants"),
        (role(rule("", "secrets", "create", "get")), "grants"),
        (role(rule("*", "*", "*")), "grants"),
        (role(rule("batch", "jobs", "patch")), "grants"),
        (role(rule("batch", "jobs", "create", resourceNames=["demo-download-1"])), "grants"),
        (binding(subject={"name": "default"}), "binds"),
        (binding(subject={"namespace": "kube-system"}), "binds"),
        (binding(subject={"kind": "User", "namespace": None, "apiGroup": "rbac.authorization.k8s.io"}), "binds"),
        (binding(ref={"kind": "ClusterRole", "name": "cluster-admin"}), "binds"),
        (binding(ref={"name": "other"}), "binds"),
        (service(type="ExternalName", externalName="example.com"), "Service"),
        (service(externalIPs=["192.0.2.1"]), "Service"),
        (network({}), "NetworkPolicy"),
        (child("ServiceAccount", "demo-ssh-keys", "v1"), "mounts no token"),
        (deployment(name="another"), "begins with"),
        (deployment(owner=""), "one owner"),
        (deployment(owner="GPUPool", of="default"), "makes no deployments"),
        (deployment(owner="InferenceEndpoint"), "makes no deployments"),
        (child("PersistentVolumeClaim", "demo", "v1", spec={}), "makes no persistentvolumeclaims"),
    ],
    ids=lambda it: it if isinstance(it, str) else it["kind"],
)
def test_metacontroller_makes_nothing_else_in_our_name(metacontroller: Account, item: Object, says: str) -> None:
    if item["kind"] == "PersistentVolumeClaim":
        item = item | {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    assert says in str(metacontroller.send("POST", path_of(item), item))


def test_what_somebody_made_with_our_label_is_adopted_so_that_it_can_be_removed(
    cluster: Cluster, metacontroller: Account
) -> None:
    theirs = role(rule("*", "*", "*"))
    theirs["metadata"] |= {"name": "orphan", "ownerReferences": []}
    cluster.apply(theirs)
    path = f"{path_of(theirs)}/orphan"
    owned = {"metadata": {"ownerReferences": [OWNER | {"kind": "InferenceService", "name": "demo"}]}}
    assert metacontroller.merge(path, owned) is None
    assert "begins with" in str(metacontroller.merge(path, owned | {"rules": [rule("", "pods", "*")]}))
    assert metacontroller.send("DELETE", path) is None


def test_an_object_with_a_second_owner_is_refused(metacontroller: Account) -> None:
    item = copy.deepcopy(deployment())
    item["metadata"]["ownerReferences"].append({"apiVersion": API, "kind": "GPUPool", "name": "default", "uid": "u"})
    assert "for no other" in str(metacontroller.send("POST", path_of(item), item))


def test_a_label_that_is_missing_hides_nothing(metacontroller: Account) -> None:
    item = copy.deepcopy(privileged())
    item["metadata"]["labels"] = {}
    assert "without privileges" in str(metacontroller.send("POST", path_of(item), item))


def test_other_operators_on_the_same_metacontroller_are_left_alone(metacontroller: Account) -> None:
    item = copy.deepcopy(privileged())
    item["metadata"] |= {"labels": {}, "ownerReferences": [OWNER | {"apiVersion": "other/v1", "kind": "Other"}]}
    item["metadata"]["ownerReferences"][0]["name"] = "other"
    assert metacontroller.send("POST", path_of(item), item) is None


def test_other_accounts_are_left_alone(cluster: Cluster) -> None:
    admin = Account(cluster.api)
    item = privileged()
    assert admin.send("POST", path_of(item), item) is None
    assert admin.patch(pod_path("plain", "kube-system"), IMAGE) is None
    assert admin.send("DELETE", pod_path("plain", "kube-system")) is None
