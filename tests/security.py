"""The Pod Security Standard "restricted", as far as it is about what we emit.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_HOST = ("hostNetwork", "hostPID", "hostIPC")


def violations(pod: Mapping[str, Any]) -> list[str]:
    """What of a pod spec the standard refuses; a read-only root file system is our own demand."""
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    return [*_pod(pod), *(problem for it in containers for problem in _container(it, pod.get("securityContext", {})))]


def _pod(pod: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in _HOST if pod.get(name))
    for volume in pod.get("volumes", ()):
        yield from (f"volume {volume['name']}: {kind}" for kind in volume.keys() - {"name"} - _VOLUMES)


def _container(container: Mapping[str, Any], of_pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    said = {**of_pod, **own}
    name = container["name"]
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: may gain privileges"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
        yield f"{name}: has capabilities"
    if said.get("runAsNonRoot") is not True or said.get("runAsUser") == 0:
        yield f"{name}: may run as root"
    if said.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{name}: has no seccomp profile"
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"{name}: may write its root file system"
    yield from (f"{name}: host port" for port in container.get("ports", ()) if port.get("hostPort"))
