"""What Kubernetes says of pods and volumes that it refuses has a class, and advice. The texts are its own."""

from __future__ import annotations

import pytest

from app.kube.conditions import ErrorClass
from app.kube.refusal import find_refusal, find_volume_remedy

REFUSALS = {
    "a quota": (
        'pods "demo-0" is forbidden: exceeded quota: team, requested: requests.amd.com/gpu=8, '
        "used: requests.amd.com/gpu=0, limited: requests.amd.com/gpu=4",
        ErrorClass.RESOURCE,
        "raise that ResourceQuota",
    ),
    "a quota that wants limits": (
        'pods "demo-0" is forbidden: failed quota: team: must specify limits.memory for: leader',
        ErrorClass.CONFIGURATION,
        "LimitRange",
    ),
    "a LimitRange": (
        'pods "demo-0" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
        ErrorClass.CONFIGURATION,
        "LimitRange",
    ),
    "Pod Security": (
        'pods "demo-0" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes (volume "cache")',
        ErrorClass.CONFIGURATION,
        "Pod Security level",
    ),
    "an account": (
        'pods "demo-0" is forbidden: error looking up service account ns/demo: serviceaccount "demo" not found',
        ErrorClass.CONFIGURATION,
        "create the ServiceAccount",
    ),
    "a priority class": (
        'pods "demo-0" is forbidden: no PriorityClass with name high was found',
        ErrorClass.CONFIGURATION,
        "create the PriorityClass",
    ),
    "a webhook's no": (
        'admission webhook "images.example.com" denied the request: image is not signed',
        ErrorClass.CONFIGURATION,
        "policy",
    ),
    "a policy's no": (
        "pods \"demo-0\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no",
        ErrorClass.CONFIGURATION,
        "policy",
    ),
    "a webhook that is away": (
        'Internal error occurred: failed calling webhook "a.b": failed to call webhook: connection refused',
        ErrorClass.EXTERNAL,
        "webhook",
    ),
    "anything else": ("etcdserver: request timed out", ErrorClass.RESOURCE, ""),
}
VOLUMES = {
    "attached elsewhere": (
        'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and can\'t be '
        "attached to another",
        ErrorClass.RESOURCE,
        "ReadWriteMany",
    ),
    "used by a pod": (
        'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other-0',
        ErrorClass.RESOURCE,
        "another node",
    ),
    "a Secret": (
        'MountVolume.SetUp failed for volume "keys" : secret "keys" not found',
        ErrorClass.CONFIGURATION,
        "create it in this namespace",
    ),
    "a ConfigMap": (
        'MountVolume.SetUp failed for volume "c" : configmap "chat" not found',
        ErrorClass.CONFIGURATION,
        "create it in this namespace",
    ),
    "a key": (
        'MountVolume.SetUp failed for volume "keys" : references non-existent secret key: id_rsa',
        ErrorClass.CONFIGURATION,
        "add the key",
    ),
    "a claim": ('persistentvolumeclaim "weights" not found', ErrorClass.CONFIGURATION, "create the claim"),
    "a class": ('storageclass.storage.k8s.io "fast" not found', ErrorClass.CONFIGURATION, "StorageClass that exists"),
    "no class": (
        "no persistent volumes available for this claim and no storage class is set",
        ErrorClass.CONFIGURATION,
        "names a StorageClass",
    ),
    "a folder": (
        'MountVolume.SetUp failed for volume "w" : hostPath type check failed: /models is not a directory',
        ErrorClass.CONFIGURATION,
        "on the node",
    ),
    "a driver": (
        "MountVolume.MountDevice failed: driver name csi.example.com not found in the list of registered CSI drivers",
        ErrorClass.EXTERNAL,
        "CSI driver",
    ),
    "nothing is said": (
        "pod has unbound immediate PersistentVolumeClaims",
        ErrorClass.EXTERNAL,
        "kubectl describe pvc",
    ),
    "anything else": ('MountVolume.SetUp failed for volume "n" : mount failed: exit 32', ErrorClass.EXTERNAL, "server"),
}


@pytest.mark.parametrize(("text", "error", "advice"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_classed_and_has_a_way_out(text: str, error: ErrorClass, advice: str) -> None:
    remedy = find_refusal(text)
    assert remedy.error is error
    assert advice in remedy.advice


@pytest.mark.parametrize(("text", "error", "advice"), VOLUMES.values(), ids=VOLUMES)
def test_a_missing_volume_is_classed_and_has_a_way_out(text: str, error: ErrorClass, advice: str) -> None:
    remedy = find_volume_remedy(text)
    assert remedy.error is error
    assert advice in remedy.advice
