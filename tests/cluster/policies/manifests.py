"""What Metacontroller writes for the operator, as small as it can be."""

from __future__ import annotations

from typing import Any

from tests.cluster.place import pod_spec
from tests.cluster.world import API
from tools.sandbox.api import Object

TEAM = "team"
"""The namespace of all that is tried."""


def pod(name: str, namespace: str, labels: Object | None = None, gated: bool = False, **more: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"app": name}}
    spec = pod_spec(1, gated) | {"schedulerName": "none", "nodeSelector": {"a": "b"}} | more
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def pod_path(name: str, namespace: str = TEAM) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def add(path: str, value: object) -> Object:
    return {"op": "add", "path": path, "value": value}


IMAGE = {"op": "replace", "path": "/spec/containers/0/image", "value": "evil:1"}
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
