"""How all pods of ours run: Pod Security Standard "restricted", as the one user that the images know."""

from __future__ import annotations

from collections.abc import Iterable

from kubernetes.client.models.v1_capabilities import V1Capabilities
from kubernetes.client.models.v1_pod_security_context import V1PodSecurityContext
from kubernetes.client.models.v1_seccomp_profile import V1SeccompProfile
from kubernetes.client.models.v1_security_context import V1SecurityContext

UID = 1001
"""User and group; also the group of the volumes."""


def restricted_pod(has_volumes: bool = True, groups: Iterable[int] = ()) -> V1PodSecurityContext:
    """`has_volumes`: some must be readable or writable for the user's group; `groups` are further ones of the user."""
    return V1PodSecurityContext(
        run_as_non_root=True,
        run_as_user=UID,
        run_as_group=UID,
        fs_group=UID if has_volumes else None,
        # A large volume on a network would otherwise be walked file by file at each start.
        fs_group_change_policy="OnRootMismatch" if has_volumes else None,
        supplemental_groups=sorted(groups) or None,
        seccomp_profile=V1SeccompProfile(type="RuntimeDefault"),
    )


def restricted_container() -> V1SecurityContext:
    return V1SecurityContext(
        allow_privilege_escalation=False,
        capabilities=V1Capabilities(drop=["ALL"]),
        read_only_root_filesystem=True,
    )
