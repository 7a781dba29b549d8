"""What the pod of a Job may do in the cluster: ServiceAccount, Role and RoleBinding of one name."""

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


def build_access(metadata: V1ObjectMeta, rules: Sequence[V1PolicyRule]) -> list[Manifest]:
    """The three objects, all with this metadata."""
    return [build_account(metadata), *build_grant(metadata, rules)]


def build_account(metadata: V1ObjectMeta) -> Manifest:
    """Who the pod is. Pods get the account's token only where they ask for it."""
    account = V1ServiceAccount(
        api_version="v1", kind="ServiceAccount", metadata=metadata, automount_service_account_token=False
    )
    return emit(account)


def build_grant(metadata: V1ObjectMeta, rules: Sequence[V1PolicyRule]) -> list[Manifest]:
    """What the account of this name may do."""
    role = V1Role(api_version=f"{RBAC}/v1", kind="Role", metadata=metadata, rules=list(rules))
    binding = V1RoleBinding(
        api_version=f"{RBAC}/v1",
        kind="RoleBinding",
        metadata=metadata,
        role_ref=V1RoleRef(api_group=RBAC, kind="Role", name=metadata.name),
        subjects=[RbacV1Subject(kind="ServiceAccount", name=metadata.name, namespace=metadata.namespace)],
    )
    return [emit(role), emit(binding)]
