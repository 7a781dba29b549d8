"""What Kubernetes says when it makes no pod, or gives a pod no volume -> class of the error, and what to do.

Source of the texts: Kubernetes 1.35, the admission plugins (resourcequota, limitranger, podsecurity, serviceaccount,
priority, webhook), kubelet's volume manager, the attach-detach and persistent volume controllers, and the scheduler's
plugin VolumeBinding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.kube.conditions import ErrorClass


@dataclass(frozen=True)
class Remedy:
    error: ErrorClass
    advice: str = ""
    """What to do, where Kubernetes does not say it."""


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    remedy: Remedy


def _rule(error: ErrorClass, pattern: str, advice: str) -> _Rule:
    return _Rule(re.compile(pattern, re.I), Remedy(error, advice))


_REFUSALS: Sequence[_Rule] = (
    _rule(ErrorClass.RESOURCE, r"exceeded quota", "raise that ResourceQuota, or ask for less"),
    _rule(
        ErrorClass.CONFIGURATION,
        r"failed quota: .{0,253}must specify",
        "give the namespace a LimitRange with defaults, or take that resource out of the ResourceQuota",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"violates PodSecurity",
        "give the namespace a Pod Security level that permits it, or take out what needs more",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"(maximum|minimum) \S+ usage per|limit to request ratio per",
        "change the LimitRange of the namespace, or what the service asks for",
    ),
    _rule(ErrorClass.CONFIGURATION, r"service ?account .{0,600}not found", "create the ServiceAccount"),
    _rule(ErrorClass.CONFIGURATION, r"no PriorityClass with name", "create the PriorityClass"),
    _rule(
        ErrorClass.CONFIGURATION,
        r"denied (the )?request|ValidatingAdmissionPolicy",
        "ask who keeps that policy, or change what it names",
    ),
    _rule(ErrorClass.EXTERNAL, r"failed calling webhook", "mend that webhook, or remove its configuration"),
    _rule(ErrorClass.CONFIGURATION, r"is being terminated", "the namespace is being deleted: use another"),
)
"""Of pods, and of what makes them."""

_VOLUMES: Sequence[_Rule] = (
    _rule(
        ErrorClass.RESOURCE,
        r"Multi-Attach|exclusively attached|already used by pod",
        "stop the pods that use it on another node, or use a ReadWriteMany claim",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"references non-existent (secret|config) key",
        "add the key, or correct its name",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"\bsecrets? \\?\"[^\"]{1,253}\" not found|\bconfigmaps? \\?\"[^\"]{1,253}\" not found",
        "create it in this namespace, or correct its name",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"persistentvolumeclaim \"[^\"]{1,253}\" not found",
        "create the claim in this namespace, or correct its name",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"storageclass(es)?(\.storage\.k8s\.io)? \"[^\"]{0,253}\" not found",
        "name a StorageClass that exists",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"no storage class is set",
        "make a volume that fits the claim, or a claim that names a StorageClass",
    ),
    _rule(
        ErrorClass.CONFIGURATION,
        r"hostPath type check failed",
        "make that folder on the node",
    ),
    _rule(
        ErrorClass.EXTERNAL,
        r"not found in the list of registered CSI drivers",
        "look at the pods of that CSI driver on the node",
    ),
    _rule(
        ErrorClass.EXTERNAL,
        r"unbound immediate PersistentVolumeClaim|binding volumes",
        "look at the claim: kubectl describe pvc",
    ),
)
_NO_VOLUME = Remedy(ErrorClass.EXTERNAL, "look at the storage: its server, driver and rights")


def find_refusal(text: str) -> Remedy:
    """Of a pod, or of what makes pods, that the API server does not take."""
    return _find(_REFUSALS, text) or Remedy(ErrorClass.RESOURCE)


def find_volume_remedy(text: str) -> Remedy:
    """Of a volume that a pod waits for."""
    return _find(_VOLUMES, text) or _NO_VOLUME


def _find(rules: Sequence[_Rule], text: str) -> Remedy | None:
    return next((rule.remedy for rule in rules if rule.pattern.search(text)), None)
