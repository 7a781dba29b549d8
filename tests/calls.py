"""Small sync requests, and their answers as one looks at them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.hooks.kinds import HOOKS
from app.kube.manifest import LAST_APPLIED, Manifest, kind_key
from app.metacontroller.protocol import SyncRequest
from app.settings import Settings
from tests.golden.replay import as_json

NAMESPACE = "ns"
NAME = "demo"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EARLIER = "2026-01-01T00:00:00Z"

CHILD_KINDS: Mapping[str, tuple[str, ...]] = {
    "inferenceservice": (
        "Deployment.apps/v1",
        "LeaderWorkerSet.leaderworkerset.x-k8s.io/v1",
        "Service.v1",
        "Ingress.networking.k8s.io/v1",
        "HorizontalPodAutoscaler.autoscaling/v2",
        "PodDisruptionBudget.policy/v1",
        "NetworkPolicy.networking.k8s.io/v1",
        "Job.batch/v1",
        "ServiceAccount.v1",
        "Role.rbac.authorization.k8s.io/v1",
        "RoleBinding.rbac.authorization.k8s.io/v1",
        "ModelCache.inference.ai/v1alpha1",
    ),
    "modelcache": (
        "PersistentVolumeClaim.v1",
        "Job.batch/v1",
        "ServiceAccount.v1",
        "Role.rbac.authorization.k8s.io/v1",
        "RoleBinding.rbac.authorization.k8s.io/v1",
    ),
    "inferenceendpoint": ("Service.v1", "Ingress.networking.k8s.io/v1"),
}
"""Outer keys of `children`: what the controllers of metacontroller/ list, LeaderWorkerSet included."""


@dataclass(frozen=True)
class Answer:
    """What a hook answered."""

    status: dict[str, Any]
    children: list[Manifest]
    resync_after_seconds: float

    def kinds(self) -> list[str]:
        return sorted(child["kind"] for child in self.children)

    def child(self, kind: str) -> Manifest:
        """The one child of a kind."""
        [found] = [child for child in self.children if child["kind"] == kind]
        return found

    def condition(self, kind: str) -> dict[str, str]:
        """The one condition of a type."""
        [found] = [condition for condition in self.status["conditions"] if condition["type"] == kind]
        return dict(found)

    def conditions(self) -> dict[str, tuple[str, str]]:
        """Status and reason by type."""
        return {it["type"]: (it["status"], it["reason"]) for it in self.status["conditions"]}


def ask(
    kind: str,
    spec: Mapping[str, Any],
    *,
    name: str = NAME,
    children: Iterable[Manifest] = (),
    related: Iterable[Manifest] = (),
    status: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    unmanaged: Iterable[str] = (),
    also_managed: Iterable[str] = (),
    settings: Settings | None = None,
    now: datetime = NOW,
) -> Answer:
    """Call a sync hook as Metacontroller does; `unmanaged` are outer keys that the controller does not list.

    GPURequest is listed only when asked for: without it a service goes by its spec alone.
    """
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "annotations": annotations}
    parent = {"metadata": {k: v for k, v in metadata.items() if v is not None}, "spec": spec, "status": status}
    keys = (*CHILD_KINDS[kind], *also_managed)
    groups: dict[str, dict[str, Manifest]] = {key: {} for key in keys if key not in set(unmanaged)}
    request = {"parent": parent, "children": _keyed(children, groups), "related": _keyed(related, {})}
    response = HOOKS[kind].sync(SyncRequest.model_validate(copy.deepcopy(request)), settings or Settings(), now)
    answer = as_json(response)
    return Answer(answer["status"], answer["children"], answer["resyncAfterSeconds"])


def stored(child: Manifest, status: Mapping[str, Any] | None = None, **spec: Any) -> Manifest:
    """A child as the API server holds it once it was applied; `spec` is what others wrote into it since."""
    observed = copy.deepcopy(child)
    observed["metadata"].setdefault("annotations", {})[LAST_APPLIED] = json.dumps(child)
    if spec:
        observed["spec"] |= spec
    return observed | ({"status": dict(status)} if status is not None else {})


def manifest(api_version: str, kind: str, name: str, **fields: Any) -> Manifest:
    """An object of the namespace."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


def _keyed(objects: Iterable[Manifest], groups: dict[str, dict[str, Manifest]]) -> dict[str, dict[str, Manifest]]:
    for item in objects:
        metadata = item["metadata"]
        groups.setdefault(kind_key(item), {})[f"{metadata['namespace']}/{metadata['name']}"] = item
    return groups
