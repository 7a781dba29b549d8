"""The fields that the operator writes, kind by kind.

What is kept of an observed object is what stands in these fields. Everything else in it belongs to others: defaults of
the API server, edits of people, additions of admission webhooks. It is neither answered nor removed.

A kind that is missing here is never kept: it is built from the spec, or left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = bool | Mapping[str, "Fields"] | list["Fields"]
"""True: the value as it is; a mapping: of these keys only; a list of one: each of its items so."""

_CONTAINER: Fields = {
    "name": True,
    "image": True,
    "imagePullPolicy": True,
    "command": True,
    "args": True,
    "env": True,
    "ports": [{"name": True, "containerPort": True, "protocol": True}],
    "resources": {"limits": True, "requests": True},
    "volumeMounts": [{"name": True, "mountPath": True, "subPath": True, "readOnly": True}],
    "startupProbe": True,
    "readinessProbe": True,
    "livenessProbe": True,
    "lifecycle": True,
    "terminationMessagePolicy": True,
    "securityContext": {
        "allowPrivilegeEscalation": True,
        "capabilities": {"drop": True},
        "readOnlyRootFilesystem": True,
    },
}
_VOLUME: Fields = {
    "name": True,
    "emptyDir": {"medium": True, "sizeLimit": True},
    "hostPath": {"path": True, "type": True},
    "persistentVolumeClaim": {"claimName": True, "readOnly": True},
    "secret": {"secretName": True, "defaultMode": True, "items": True, "optional": True},
}
_TEMPLATE: Fields = {
    "metadata": {"labels": True, "annotations": True},
    "spec": {
        "affinity": True,
        "automountServiceAccountToken": True,
        "containers": [_CONTAINER],
        "enableServiceLinks": True,
        "initContainers": [_CONTAINER],
        "nodeSelector": True,
        "restartPolicy": True,
        "schedulingGates": True,
        "securityContext": {
            "fsGroup": True,
            "fsGroupChangePolicy": True,
            "runAsGroup": True,
            "runAsNonRoot": True,
            "runAsUser": True,
            "seccompProfile": True,
            "supplementalGroups": True,
        },
        "serviceAccountName": True,
        "terminationGracePeriodSeconds": True,
        "tolerations": True,
        "volumes": [_VOLUME],
    },
}
_SPECS: Mapping[str, Fields] = {
    "Deployment.apps/v1": {
        "progressDeadlineSeconds": True,
        "replicas": True,
        "selector": True,
        "strategy": True,
        "template": _TEMPLATE,
    },
    "LeaderWorkerSet.leaderworkerset.x-k8s.io/v1": {
        "leaderWorkerTemplate": {
            "leaderTemplate": _TEMPLATE,
            "restartPolicy": True,
            "size": True,
            "workerTemplate": _TEMPLATE,
        },
        "networkConfig": True,
        "replicas": True,
        "rolloutStrategy": True,
        "startupPolicy": True,
    },
    "Job.batch/v1": {"backoffLimit": True, "podFailurePolicy": True, "template": _TEMPLATE},
    "PersistentVolumeClaim.v1": {
        "accessModes": True,
        "resources": {"requests": True},
        "storageClassName": True,
        "volumeMode": True,
    },
    "Service.v1": {
        "ports": [{"name": True, "port": True, "protocol": True, "targetPort": True}],
        "selector": True,
        "type": True,
    },
    "Ingress.networking.k8s.io/v1": {"ingressClassName": True, "rules": True, "tls": True},
    "HorizontalPodAutoscaler.autoscaling/v2": {
        "behavior": True,
        "maxReplicas": True,
        "metrics": True,
        "minReplicas": True,
        "scaleTargetRef": True,
    },
    "PodDisruptionBudget.policy/v1": {
        "maxUnavailable": True,
        "minAvailable": True,
        "selector": True,
        "unhealthyPodEvictionPolicy": True,
    },
    "ModelCache.inference.ai/v1alpha1": True,
    "GPURequest.inference.ai/v1alpha1": True,
    "GPUAllocation.inference.ai/v1alpha1": True,
    "GPUNode.inference.ai/v1alpha1": True,
}

DEFAULTED = frozenset({
    "apiVersion", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "defaultMode",
    "job-name", "networkConfig", "policies", "progressDeadlineSeconds", "replicas", "restartPolicy", "rolloutStrategy",
    "scaleUp", "selectPolicy", "startupPolicy", "storageClassName", "strategy", "terminationGracePeriodSeconds",
    "tolerance", "volumeMode",
})  # fmt: skip
"""Keys in fields of ours, at any depth, that the API server or a controller may have filled in."""


def spec_fields(kind: str) -> Fields | None:
    """The fields of a kind's spec, by its outer key such as Deployment.apps/v1; None for a kind that is never kept."""
    return _SPECS.get(kind)


def within(value: Any, fields: Fields) -> Any:
    """The part of a JSON value in these fields; what says nothing (null, "", {}, []) is left out of mappings."""
    if isinstance(fields, Mapping):
        known = value if isinstance(value, Mapping) else {}
        parts = ((key, within(known[key], inner)) for key, inner in fields.items() if key in known)
        return {key: part for key, part in parts if part not in (None, "", {}, [])}
    if isinstance(fields, list):
        return [within(item, fields[0]) for item in value] if isinstance(value, list) else []
    return value
