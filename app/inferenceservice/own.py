"""Which objects a service of a name would have made: by name, and by what never changes in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.inferenceservice.names import cache_child_name, deployment_name, keys_name
from app.kube.lenient import text_at, value_at
from app.kube.manifest import Manifest
from app.kube.names import LEADER, ROLE_LABEL, SERVICE_LABEL, WORKER
from app.kube.privilege import pod_templates
from app.kube.shape import binds, is_named, leads_to, runs_only, selects

KEYS_CONTAINER = "ssh-keys"


def is_ours(service: str, child: Manifest) -> bool:
    """Whether the service would have made this child."""
    sign = _SIGNS.get(text_at(child, "kind"))
    return sign is not None and sign(service, child)


def accounts(service: str) -> tuple[str, ...]:
    """The account of the Job that makes ssh keys."""
    return (keys_name(service),)


def _deployment(service: str, child: Manifest) -> bool:
    labels = {SERVICE_LABEL: service, ROLE_LABEL: LEADER}
    selected = selects(child, labels, "spec", "selector", "matchLabels")
    return is_named(child, deployment_name(service)) and selected and runs_only(child, LEADER)


def _group(service: str, child: Manifest) -> bool:
    owners = [value_at(it, "metadata", "labels", SERVICE_LABEL) for it in pod_templates(child)]
    return is_named(child, service) and owners == [service] * 2 and runs_only(child, LEADER, WORKER)


def _service(service: str, child: Manifest) -> bool:
    selected = selects(child, {SERVICE_LABEL: service, ROLE_LABEL: LEADER}, "spec", "selector")
    return is_named(child, service) and selected and text_at(child, "spec", "type") != "ExternalName"


def _ingress(service: str, child: Manifest) -> bool:
    return is_named(child, service) and leads_to(child, service)


def _autoscaler(service: str, child: Manifest) -> bool:
    target = (text_at(child, "spec", "scaleTargetRef", key) for key in ("kind", "name"))
    ours = (("Deployment", deployment_name(service)), ("LeaderWorkerSet", service))
    return is_named(child, service) and tuple(target) in ours


def _budget(service: str, child: Manifest) -> bool:
    whole, leaders = {SERVICE_LABEL: service}, {SERVICE_LABEL: service, ROLE_LABEL: LEADER}
    selected = any(selects(child, it, "spec", "selector", "matchLabels") for it in (whole, leaders))
    return is_named(child, service) and selected


def _policy(service: str, child: Manifest) -> bool:
    selected = selects(child, {SERVICE_LABEL: service}, "spec", "podSelector", "matchLabels")
    return is_named(child, service) and selected


def _keys_job(service: str, child: Manifest) -> bool:
    return is_named(child, keys_name(service)) and runs_only(child, KEYS_CONTAINER)


_SIGNS: Mapping[str, Callable[[str, Manifest], bool]] = {
    "Deployment": _deployment,
    "LeaderWorkerSet": _group,
    "Service": _service,
    "Ingress": _ingress,
    "HorizontalPodAutoscaler": _autoscaler,
    "PodDisruptionBudget": _budget,
    "NetworkPolicy": _policy,
    "Job": _keys_job,
    "ServiceAccount": lambda service, child: is_named(child, keys_name(service)),
    "Role": lambda service, child: is_named(child, keys_name(service)),
    "RoleBinding": lambda service, child: is_named(child, keys_name(service)) and binds(child, keys_name(service)),
    "ModelCache": lambda service, child: is_named(child, cache_child_name(service)),
    "GPURequest": lambda service, child: is_named(child, service),
}
