"""What in a pod would reach beyond its own containers: the node, or the rights of another account.

No pod of ours asks for any of it, apart from folders of the nodes that the administrator allowed and the accounts of
Jobs that were made for them. It is at least what Pod Security Standard "baseline" forbids; deploy/policies/pods.yaml
refuses the same, so an object that has it could not be updated either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.kube.lenient import mapping_at, mappings_at, text_at, value_at

_TEMPLATES: Mapping[str, Sequence[tuple[str, ...]]] = {
    "Deployment": (("spec", "template"),),
    "Job": (("spec", "template"),),
    "LeaderWorkerSet": (
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ),
}
_HOST = ("hostNetwork", "hostPID", "hostIPC")
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_NODE_VOLUMES = ("flexVolume", "gitRepo")
"""Volumes for which a program runs on the node."""
_PROFILES = ("seccompProfile", "appArmorProfile")


@dataclass(frozen=True)
class Allowed:
    """What pods of one parent may have."""

    accounts: Collection[str] = ()
    """Names of ServiceAccounts, besides the namespace's default one."""
    path: Callable[[str], bool] = lambda _: False
    """Whether a folder of the nodes may be mounted."""


def pod_templates(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pod templates of a Deployment, Job or LeaderWorkerSet."""
    found = (mapping_at(manifest, *path) for path in _TEMPLATES.get(text_at(manifest, "kind"), ()))
    return [template for template in found if template]


def find_privileges(manifest: Mapping[str, Any], allowed: Allowed) -> Iterator[str]:
    """What the pods of an object would have beyond what is allowed, each in a few words."""
    for template in pod_templates(manifest):
        yield from _of_pod(mapping_at(template, "spec"), allowed)
        if text_at(manifest, "kind") != "Job" and value_at(template, "spec", "automountServiceAccountToken") is True:
            yield "automountServiceAccountToken"


def _of_pod(pod: Mapping[str, Any], allowed: Allowed) -> Iterator[str]:
    yield from (field for field in (*_HOST, "nodeName") if value_at(pod, field))
    for field in ("serviceAccountName", "serviceAccount"):
        if text_at(pod, field) not in ("", "default", *allowed.accounts):
            yield f"{field} {text_at(pod, field)}"
    for volume in mappings_at(pod, "volumes"):
        if "hostPath" in volume and not allowed.path(text_at(volume, "hostPath", "path")):
            yield f"hostPath {text_at(volume, 'hostPath', 'path')}"
        yield from (kind for kind in _NODE_VOLUMES if kind in volume)
    if value_at(pod, "securityContext", "sysctls"):
        yield "sysctls"
    yield from _of_identity(mapping_at(pod, "securityContext"), "the pod")
    for container in (it for key in _CONTAINERS for it in mappings_at(pod, key)):
        where = f"container {text_at(container, 'name')}"
        yield from _of_container(mapping_at(container, "securityContext"), where)
        if any(value_at(port, "hostPort") for port in mappings_at(container, "ports")):
            yield f"hostPort in {where}"


def _of_container(context: Mapping[str, Any], where: str) -> Iterator[str]:
    if value_at(context, "privileged"):
        yield f"privileged in {where}"
    if value_at(context, "allowPrivilegeEscalation") is not False:
        yield f"allowPrivilegeEscalation in {where}"
    if value_at(context, "capabilities", "add"):
        yield f"added capabilities in {where}"
    if value_at(context, "procMount") not in (None, "Default"):
        yield f"procMount in {where}"
    yield from _of_identity(context, where)


def _of_identity(context: Mapping[str, Any], where: str) -> Iterator[str]:
    if value_at(context, "runAsUser") == 0 or value_at(context, "runAsNonRoot") is False:
        yield f"root in {where}"
    for profile in _PROFILES:
        if text_at(context, profile, "type") == "Unconfined":
            yield f"{profile} Unconfined in {where}"
    if value_at(context, "seLinuxOptions"):
        yield f"seLinuxOptions in {where}"
    if value_at(context, "windowsOptions", "hostProcess"):
        yield f"hostProcess in {where}"
