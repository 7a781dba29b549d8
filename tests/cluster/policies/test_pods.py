"""Pod templates that Metacontroller writes for the operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.policies.account import Account
from tests.cluster.policies.manifests import (
    OWNER,
    TEAM,
    deployment,
    group,
    host_path,
    job,
    path_of,
    volume,
    with_context,
)
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster

WORKLOADS: list[Callable[..., Object]] = [deployment, job, group]
CONTEXT = {"runAsNonRoot": True, "runAsUser": 1001}


@pytest.mark.parametrize("build", WORKLOADS)
@pytest.mark.parametrize(
    "pod",
    [
        {},
        host_path(f"/mnt/models/{TEAM}"),
        host_path(f"/data/{TEAM}"),
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
        ({"securityContext": CONTEXT | {"sysctls": [{"name": "net.a", "value": "1"}]}}, "confined"),
        ({"securityContext": CONTEXT | {"seccompProfile": {"type": "Unconfined"}}}, "confined"),
        ({"securityContext": CONTEXT | {"seLinuxOptions": {"type": "spc_t"}}}, "confined"),
        ({"containers": [with_context(seccompProfile={"type": "Unconfined"})]}, "confined"),
        ({"containers": [with_context(appArmorProfile={"type": "Unconfined"})]}, "confined"),
        (host_path("/"), "hostPath"),
        (host_path("/mnt/models"), "hostPath"),
        (host_path("/mnt/models/other"), "hostPath"),
        (host_path(f"/mnt/models2/{TEAM}"), "hostPath"),
        (host_path(f"/mnt/models/{TEAM}/link"), "hostPath"),
        (host_path(f"/{TEAM}"), "hostPath"),
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
