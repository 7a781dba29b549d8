"""The agent's account: gated pods, pods that cannot have their node, heartbeats, one lease."""

from __future__ import annotations

import pytest

from tests.cluster.place import service_labels
from tests.cluster.policies.account import Account
from tests.cluster.policies.manifests import IMAGE, TEAM, add, pod, pod_path
from tools.sandbox.agent import NAMESPACE
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster

HOSTNAME = "kubernetes.io/hostname"

LIFT = {"op": "remove", "path": "/spec/schedulingGates/0"}
SELECT = add("/spec/nodeSelector/kubernetes.io~1hostname", "mi300x-0")
GROUP = add("/metadata/labels/inference.ai~1group", "0")


def test_the_agent_binds_a_gated_pod(agent: Account) -> None:
    assert agent.patch(pod_path("gated"), SELECT, GROUP, LIFT) is None
    assert agent.patch(pod_path("gated"), SELECT, LIFT) is None


@pytest.mark.parametrize("namespace", [TEAM, "kube-system"])
@pytest.mark.parametrize(
    "operation", [IMAGE, add("/metadata/labels/x", "y"), add("/metadata/annotations", {"x": "y"})], ids=str
)
def test_the_agent_changes_no_pod_without_its_gate(agent: Account, namespace: str, operation: Object) -> None:
    assert "gate inference.ai/placement" in str(agent.patch(pod_path("plain", namespace), operation))


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (IMAGE, "but its gate and its node selector"),
        (add("/spec/activeDeadlineSeconds", 1), "but its gate and its node selector"),
        (add("/spec/tolerations/-", {"operator": "Exists"}), "but its gate and its node selector"),
        (add("/spec/nodeSelector/x", "y"), "adds kubernetes.io/hostname"),
        (add("/metadata/labels/inference.ai~1service", "other"), "label inference.ai/group"),
        (add("/metadata/labels/app.kubernetes.io~1name", "x"), "label inference.ai/group"),
        (add("/metadata/annotations", {"x": "y"}), "neither annotations"),
        (add("/metadata/finalizers", ["x.example/y"]), "neither annotations"),
        (
            add("/metadata/ownerReferences", [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]),
            "neither annotations",
        ),
    ],
    ids=str,
)
def test_the_agent_changes_nothing_else_of_a_gated_pod(agent: Account, operation: Object, says: str) -> None:
    assert says in str(agent.patch(pod_path("gated"), SELECT, operation, LIFT))


def test_the_agent_lifts_no_gate_of_others(cluster: Cluster, agent: Account) -> None:
    two = pod("two-gates", TEAM, labels=service_labels(), gated=True)
    two["spec"]["schedulingGates"].append({"name": "example.com/other"})
    cluster.apply(two)
    assert agent.patch(pod_path("two-gates"), SELECT, LIFT) is None
    assert "no other" in str(agent.patch(pod_path("two-gates"), {"op": "remove", "path": "/spec/schedulingGates/1"}))


def test_the_agent_deletes_pods_that_cannot_have_their_node_and_no_others(cluster: Cluster, agent: Account) -> None:
    stuck = pod("stuck", TEAM, labels=service_labels(), nodeSelector={HOSTNAME: "gone"})
    cluster.apply([stuck, pod("stranger", TEAM, nodeSelector={HOSTNAME: "gone"})])
    assert "unschedulable" in str(agent.send("DELETE", pod_path("stuck")))
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    for name in ("stuck", "stranger", "plain", "gated"):
        cluster.patch("v1", "Pod", name, TEAM, {"status": {"conditions": [refused]}}, subresource="status")
    assert agent.send("DELETE", pod_path("stuck")) is None
    for name in ("stranger", "plain", "gated"):
        assert "deletes only" in str(agent.send("DELETE", pod_path(name))), name
    bound = pod("bound", TEAM, labels=service_labels(), nodeSelector={HOSTNAME: "mi300x-0"}, nodeName="mi300x-0")
    cluster.apply(bound)
    cluster.wait_for("v1", "Pod", "bound", TEAM, lambda it: it["status"]["phase"] == "Running")
    assert "have not got it" in str(agent.send("DELETE", pod_path("bound")))
    assert "deletes only" in str(agent.send("DELETE", pod_path("plain", "kube-system")))


def test_the_agent_writes_heartbeats_on_pools_and_nothing_else(agent: Account) -> None:
    path = "/apis/inference.ai/v1alpha1/gpupools/default"
    beat = {"inference.ai/agent-heartbeat": "2026-01-01T00:00:00Z"}
    assert agent.merge(path, {"metadata": {"annotations": beat}}) is None
    assert "spec" in str(agent.merge(path, {"spec": {"nodeSelector": {"matchLabels": {"evil": "1"}}}}))
    assert "heartbeat" in str(agent.merge(path, {"metadata": {"annotations": {"x": "y"}}}))
    assert "heartbeat" in str(agent.merge(path, {"metadata": {"labels": {"x": "y"}}}))
    assert "heartbeat" in str(agent.merge(path, {"metadata": {"finalizers": ["x.example/y"]}}))


def test_the_agent_makes_one_lease(agent: Account) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"

    def lease(name: str) -> Object:
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}}

    assert agent.send("POST", path, lease("inference-agent")) is None
    assert "inference-agent" in str(agent.send("POST", path, lease("other")))
