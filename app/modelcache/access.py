"""What the downloader may do in the cluster: read and annotate its own Job, while there is work for it."""

from __future__ import annotations

from collections.abc import Sequence

from kubernetes.client.models.rbac_v1_subject import RbacV1Subject
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_policy_rule import V1PolicyRule
from kubernetes.client.models.v1_role import V1Role
from kubernetes.client.models.v1_role_binding import V1RoleBinding
from kubernetes.client.models.v1_role_ref import V1RoleRef
from kubernetes.client.models.v1_service_account import V1ServiceAccount

from app.kube.manifest import Manifest, emit

RBAC = "rbac.authorization.k8s.io"


def build_access(metadata: V1ObjectMeta, jobs: Sequence[str]) -> list[Manifest]:
    """ServiceAccount, Role and RoleBinding of one name, for these Jobs."""
    return [emit(it) for it in (build_account(metadata), build_role(metadata, jobs), build_binding(metadata))]


def build_account(metadata: V1ObjectMeta) -> V1ServiceAccount:
    return V1ServiceAccount(
        api_version="v1", kind="ServiceAccount", metadata=metadata, automount_service_account_token=False
    )


def build_role(metadata: V1ObjectMeta, jobs: Sequence[str]) -> V1Role:
    rule = V1PolicyRule(api_groups=["batch"], resources=["jobs"], resource_names=sorted(jobs), verbs=["get", "patch"])
    return V1Role(api_version=f"{RBAC}/v1", kind="Role", metadata=metadata, rules=[rule])


def build_binding(metadata: V1ObjectMeta) -> V1RoleBinding:
    return V1RoleBinding(
        api_version=f"{RBAC}/v1",
        kind="RoleBinding",
        metadata=metadata,
        role_ref=V1RoleRef(api_group=RBAC, kind="Role", name=metadata.name),
        subjects=[RbacV1Subject(kind="ServiceAccount", name=metadata.name, namespace=metadata.namespace)],
    )
