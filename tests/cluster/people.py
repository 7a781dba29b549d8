"""People with few rights: attacks are tried as somebody whom RBAC really limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tools.sandbox.api import Api, ApiError, Object
from tools.sandbox.cluster import Cluster

RBAC = "rbac.authorization.k8s.io/v1"
TENANT: list[Object] = [
    {
        "apiGroups": ["inference.ai"],
        "resources": ["inferenceservices", "modelcaches", "inferenceendpoints"],
        "verbs": ["*"],
    }
]
"""Rules of somebody who may write our three kinds in one namespace, and nothing else."""


@contextmanager
def tenant(cluster: Cluster, namespace: str, user: str = "mallory") -> Iterator[Api]:
    """May write the three kinds in one namespace."""
    role = {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": user, "namespace": namespace}, "rules": TENANT}
    cluster.apply([role, _binding(namespace, user, "Role", user)])
    cluster.wait_allowed(user, "patch", "inferenceservices.inference.ai", namespace)
    yield from _acting(cluster, user)


@contextmanager
def editor(cluster: Cluster, namespace: str, user: str = "eve") -> Iterator[Api]:
    """Has the cluster's role `edit` in one namespace."""
    cluster.apply(_binding(namespace, user, "ClusterRole", "edit"))
    cluster.wait_allowed(user, "create", "deployments.apps", namespace)
    yield from _acting(cluster, user)


def _binding(namespace: str, user: str, kind: str, role: str) -> Object:
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {"name": user, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def _acting(cluster: Cluster, user: str) -> Iterator[Api]:
    api = Api(cluster.access, impersonate=user)
    try:
        yield api
    finally:
        api.close()


def refused(api: Api, item: Object) -> str:
    """Why the API server refuses to create an object."""
    with pytest.raises(ApiError) as caught:
        api.create(api.resource(item["apiVersion"], kind=item["kind"]), item)
    return f"{caught.value.reason}: {caught.value.message}"


def change(api: Api, item: Object, body: Object) -> Object:
    """A merge patch."""
    metadata = item["metadata"]
    return api.patch(api.resource(item["apiVersion"], kind=item["kind"]), metadata["name"], metadata["namespace"], body)
