"""The accounts of agent, downloader, key Job and Metacontroller do what they are for, and nothing else.

What they are for is shown by all other cluster tests, which run under the same policies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.agent import ACCOUNT, NAMESPACE, rights
from sandbox.api import JSON_PATCH, MERGE_PATCH, Api, ApiError, Object
from sandbox.cluster import Cluster, wait_until
from sandbox.kubeconfig import Access, read_kubeconfig
from sandbox.operator import crds
from sandbox.policies import policies
from tests.cluster.place import cluster_object, pod_spec, service_labels
from tests.cluster.world import API

TEAM = "team"
HOSTNAME = "kubernetes.io/hostname"
Fault = str | None


@dataclass(frozen=True)
class Account:
    """Requests of one account; the answer is why they are refused by a policy, None when they are not."""

    api: Api

    def send(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Fault:
        try:
            self.api.request(method, path, body=body, content_type=content_type, params={"dryRun": "All"})
        except ApiError as error:
            if "ValidatingAdmissionPolicy" not in error.message:
                raise
            return error.message
        return None

    def patch(self, path: str, *operations: Object) -> Fault:
        return self.send("PATCH", path, list(operations), JSON_PATCH)

    def merge(self, path: str, body: Object) -> Fault:
        return self.send("PATCH", path, body, MERGE_PATCH)


@pytest.fixture(scope="module")
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


class Accounts:
    """Opens connections as an account, and closes them in the end."""

    def __init__(self, cluster: Cluster, stack: ExitStack) -> None:
        self._cluster, self._stack = cluster, stack

    def open(self, namespace: str, name: str) -> Account:
        """An account with its token and the rights that it has."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        token = self._cluster.api.request("POST", path, body=body)["status"]["token"]
        return self._open(Access(self._cluster.access.server, token, self._cluster.access.ca))

    def open_metacontroller(self) -> Account:
        return self._open(read_kubeconfig(self._cluster.kubeconfig_of("metacontroller")))

    def _open(self, access: Access) -> Account:
        api = Api(access)
        self._stack.callback(api.close)
        return Account(api)


@pytest.fixture(scope="module")
def accounts(cluster: Cluster) -> Iterator[Accounts]:
    with ExitStack() as stack:
        yield Accounts(cluster, stack)


@pytest.fixture(scope="module")
def agent(accounts: Accounts) -> Account:
    """The API server learns of a policy a moment after it was written."""
    agent = accounts.open(NAMESPACE, ACCOUNT)
    wait_until(lambda: agent.merge(pod_path("plain"), {"metadata": {"labels": {"x": "y"}}}) is not None, "enforced")
    return agent


@pytest.fixture(scope="module")
def metacontroller(accounts: Accounts) -> Account:
    metacontroller = accounts.open_metacontroller()
    wait_until(lambda: metacontroller.send("POST", path_of(deployment()), privileged()) is not None, "enforced")
    return metacontroller


def pod(name: str, namespace: str, labels: Object | None = None, gated: bool = False, **more: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"app": name}}
    spec = pod_spec(1, gated) | {"schedulerName": "none", "nodeSelector": {"a": "b"}} | more
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def pod_path(name: str, namespace: str = TEAM) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def add(path: str, value: object) -> Object:
    return {"op": "add", "path": path, "value": value}


LIFT = {"op": "remove", "path": "/spec/schedulingGates/0"}
SELECT = add("/spec/nodeSelector/kubernetes.io~1hostname", "mi300x-0")
GROUP = add("/metadata/labels/inference.ai~1group", "0")
IMAGE = {"op": "replace", "path": "/spec/containers/0/image", "value": "evil:1"}


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


OWNER = {"apiVersion": API, "uid": "00000000-0000-0000-0000-000000000001", "controller": True}
MANAGED = {"app.kubernetes.io/managed-by": "inference-operator"}


def child(kind: str, name: str, api: str, owner: str = "InferenceService", of: str = "demo", **body: Any) -> Object:
    owners = [OWNER | {"kind": owner, "name": of}] if owner else []
    metadata = {"name": name, "namespace": TEAM, "labels": dict(MANAGED), "ownerReferences": owners}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


def path_of(item: Object) -> str:
    root = f"/apis/{item['apiVersion']}" if "/" in item["apiVersion"] else "/api/v1"
    plural = PLURALS.get(item["kind"], f"{item['kind'].lower()}s")
    return f"{root}/namespaces/{item['metadata']['namespace']}/{plural}"


RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def template(**pod: Any) -> Object:
    container = {"name": "leader", "image": "x:1", "securityContext": RESTRICTED}
    spec = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1001},
        "automountServiceAccountToken": False,
    }
    return {"metadata": {"labels": {"app": "demo"}}, "spec": spec | pod}


def deployment(name: str = "demo-leader", owner: str = "InferenceService", of: str = "demo", **pod: Any) -> Object:
    spec = {"selector": {"matchLabels": {"app": "demo"}}, "template": template(**pod)}
    return child("Deployment", name, "apps/v1", owner, of, spec=spec)


def job(name: str = "demo-download-1", owner: str = "ModelCache", of: str = "demo", **pod: Any) -> Object:
    account = {"serviceAccountName": f"{of}-downloader", "restartPolicy": "Never", "automountServiceAccountToken": True}
    return child("Job", name, "batch/v1", owner, of, spec={"template": template(**account | pod)})


def group(**pod: Any) -> Object:
    templates = {"size": 2, "leaderTemplate": template(), "workerTemplate": template(**pod)}
    return child("LeaderWorkerSet", "demo", "leaderworkerset.x-k8s.io/v1", spec={"leaderWorkerTemplate": templates})


def privileged() -> Object:
    return deployment(containers=[with_context(privileged=True)])


def with_context(**context: Any) -> Object:
    raised = {"allowPrivilegeEscalation": True} if context.get("privileged") else {}
    return {"name": "leader", "image": "x:1", "securityContext": RESTRICTED | raised | context}


def volume(**source: Any) -> Object:
    return {"volumes": [{"name": "v", **source}]}


def host_path(path: str) -> Object:
    return volume(hostPath={"path": path})


WORKLOADS: list[Callable[..., Object]] = [deployment, job, group]


@pytest.mark.parametrize("build", WORKLOADS)
@pytest.mark.parametrize(
    "pod",
    [
        {},
        host_path("/mnt/models/llama"),
        host_path("/mnt/models"),
        host_path("/data/x"),
        volume(emptyDir={}),
        volume(persistentVolumeClaim={"claimName": "c"}),
        volume(secret={"secretName": "s"}),
    ],
    ids=str,
)
def test_metacontroller_makes_workloads_of_ours(
    metacontroller: Account, build: Callable[..., Object], pod: Object
) -> None:
    item = build(**pod)
    assert metacontroller.send("POST", path_of(item), item) is None


@pytest.mark.parametrize("build", WORKLOADS)
@pytest.mark.parametrize(
    ("pod", "says"),
    [
        ({"hostNetwork": True}, "no namespace of its node"),
        ({"hostPID": True}, "no namespace of its node"),
        ({"hostIPC": True}, "no namespace of its node"),
        ({"nodeName": "mi300x-0"}, "from the scheduler"),
        ({"serviceAccountName": "metacontroller"}, "account"),
        ({"serviceAccount": "metacontroller", "serviceAccountName": ""}, "account"),
        ({"containers": [with_context(privileged=True)]}, "without privileges"),
        ({"containers": [with_context(allowPrivilegeEscalation=True)]}, "without privileges"),
        ({"containers": [{"name": "leader", "image": "x:1"}]}, "without privileges"),
        ({"containers": [with_context(runAsUser=0)]}, "without privileges"),
        ({"containers": [with_context(capabilities={"add": ["SYS_ADMIN"]})]}, "without privileges"),
        ({"initContainers": [with_context(privileged=True) | {"name": "first"}]}, "without privileges"),
        ({"securityContext": {}}, "without privileges"),
        ({"containers": [with_context() | {"ports": [{"containerPort": 80, "hostPort": 80}]}]}, "port of its node"),
        (host_path("/"), "hostPath"),
        (host_path("/mnt/models2"), "hostPath"),
        (host_path("/etc"), "hostPath"),
        (volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}), "volumes of"),
        (volume(nfs={"server": "s", "path": "/"}), "volumes of"),
        (volume(csi={"driver": "secrets"}), "volumes of"),
    ],
    ids=str,
)
def test_metacontroller_makes_no_dangerous_pods(
    metacontroller: Account, build: Callable[..., Object], pod: Object, says: str
) -> None:
    item = build(**pod)
    assert says in str(metacontroller.send("POST", path_of(item), item))


def test_what_stands_already_may_stay_and_be_scaled_and_adopted(cluster: Cluster, metacontroller: Account) -> None:
    standing = deployment("standing-leader", of="standing", **host_path("/old/models"))
    standing["metadata"]["ownerReferences"] = []
    cluster.apply(standing)
    path = f"{path_of(standing)}/standing-leader"
    owned = {"metadata": {"ownerReferences": [OWNER | {"kind": "InferenceService", "name": "standing"}]}}
    assert metacontroller.merge(path, owned) is None
    assert metacontroller.merge(path, owned | {"spec": {"replicas": 3}}) is None
    worse = {"spec": {"template": {"spec": {"hostNetwork": True}}}}
    assert "no namespace of its node" in str(metacontroller.merge(path, owned | worse))


def rule(groups: str, resources: str, *verbs: str, **more: Any) -> Object:
    return {"apiGroups": [groups], "resources": [resources], "verbs": list(verbs), **more}


RBAC = "rbac.authorization.k8s.io/v1"
REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "demo-ssh-keys"}
SUBJECT = {"kind": "ServiceAccount", "name": "demo-ssh-keys", "namespace": TEAM}


def role(*rules: Object) -> Object:
    return child("Role", "demo-ssh-keys", RBAC, rules=list(rules))


def binding(subject: Object | None = None, ref: Object | None = None) -> Object:
    return child("RoleBinding", "demo-ssh-keys", RBAC, roleRef=REF | (ref or {}), subjects=[SUBJECT | (subject or {})])


def service(**spec: Any) -> Object:
    return child("Service", "demo", "v1", spec={"ports": [{"port": 80}]} | spec)


def network(selector: Object) -> Object:
    return child("NetworkPolicy", "demo", "networking.k8s.io/v1", spec={"podSelector": selector})


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


@pytest.fixture(scope="module")
def downloader(cluster: Cluster, accounts: Accounts) -> Account:
    """As children.py makes it, with the right to patch its Job; and a Job of another cache."""
    grant = rule("batch", "jobs", "get", "patch", resourceNames=["demo-download-1", "other-download-1"])
    return _jobs_account(cluster, accounts, "demo-downloader", grant)


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
    for of in ("demo", "other"):
        item = job(f"{of}-download-1", of=of)
        item["metadata"]["ownerReferences"][0] |= {"controller": False}
        item["metadata"]["labels"] |= {"inference.ai/cache": of} if of == "demo" else {}
        cluster.apply(item | {"spec": item["spec"] | {"suspend": True}})
    return f"/apis/batch/v1/namespaces/{TEAM}/jobs"


def test_the_agent_says_on_jobs_of_downloads_why_they_wait_and_nothing_else(agent: Account, jobs: str) -> None:
    problem = {"metadata": {"annotations": {"inference.ai/pod-problem": "FailedMount: x"}}}
    assert agent.merge(f"{jobs}/demo-download-1", problem) is None
    assert "only Jobs of downloads" in str(agent.merge(f"{jobs}/other-download-1", problem))
    for body, says in (
        ({"metadata": {"annotations": {"inference.ai/download-report": "{}"}}}, "pod-problem"),
        ({"metadata": {"labels": {"controller-uid": "x"}}}, "pod-problem"),
        ({"metadata": {"ownerReferences": None}}, "pod-problem"),
        ({"metadata": {"finalizers": ["x.example/y"]}}, "pod-problem"),
        ({"spec": {"suspend": False}}, "spec"),
        ({"spec": {"parallelism": 9}}, "spec"),
    ):
        assert says in str(agent.merge(f"{jobs}/demo-download-1", body)), body


def test_a_downloader_reports_on_its_job_and_changes_nothing_else(downloader: Account, jobs: str) -> None:
    report = {"metadata": {"annotations": {"inference.ai/download-report": "{}"}}}
    assert downloader.merge(f"{jobs}/demo-download-1", report) is None
    assert "own ModelCache" in str(downloader.merge(f"{jobs}/other-download-1", report))
    for body, says in (
        ({"metadata": {"annotations": {"metacontroller.k8s.io/last-applied-configuration": "{}"}}}, "annotation"),
        ({"metadata": {"labels": {"controller-uid": "x"}}}, "annotation"),
        ({"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}, "annotation"),
        ({"metadata": {"ownerReferences": None}}, "annotation"),
        ({"metadata": {"finalizers": ["x.example/y"]}}, "annotation"),
        ({"spec": {"suspend": False}}, "spec"),
        ({"spec": {"parallelism": 9}}, "spec"),
    ):
        assert says in str(downloader.merge(f"{jobs}/demo-download-1", body)), body


def secret(name: str = "demo-ssh-keys", kind: str = "kubernetes.io/ssh-auth", **more: Any) -> Object:
    owner = {"apiVersion": API, "kind": "InferenceService", "name": "demo", "uid": OWNER["uid"]}
    metadata = {"name": name, "namespace": TEAM, "ownerReferences": [owner]}
    body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "immutable": True, "data": {"ssh-privatekey": "a2V5"}}
    return body | {"metadata": metadata} | more


def test_the_account_of_keys_makes_its_secret_and_no_other(cluster: Cluster, accounts: Accounts) -> None:
    keys = _jobs_account(cluster, accounts, "demo-ssh-keys", rule("", "secrets", "create"))
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
