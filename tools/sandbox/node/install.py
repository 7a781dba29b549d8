"""The operator on the real node, as deploy/ installs it on any cluster: kustomize, then apply."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.sandbox import metacontroller
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster
from tools.sandbox.metacontroller import Metacontroller
from tools.sandbox.node.build import PROJECT
from tools.sandbox.node.provisioner import CLASS

NAMESPACE = "inference-system"
SERVICE = "inference-operator"
DEPLOYMENTS = ("inference-operator", "inference-agent")
OVERLAY = PROJECT / "deploy" / "overlays" / "with-lws"
IMAGE_FIELDS = PROJECT / "deploy" / "base" / "image-fields.yaml"
POOL = PROJECT / "deploy" / "default-pool"
SETTINGS = {
    "INFERENCE_STORAGE_CLASS": CLASS,
    "INFERENCE_CACHE_SIZE": "1Gi",
    "INFERENCE_DRAIN": "5s",
    "INFERENCE_START_BUDGET": "10m",
}
"""What differs from deploy/base: the storage of this cluster, and the patience of a test."""


@dataclass(frozen=True)
class Installed:
    """The running operator."""

    cluster: Cluster
    metacontroller: Metacontroller

    def check(self) -> None:
        self.metacontroller.check()


@contextmanager
def install(
    cluster: Cluster, kubectl: Path, folder: Path, images: Mapping[str, str], settings: Mapping[str, str]
) -> Iterator[Installed]:
    """Apply deploy/ with these images, by the names deploy/ gives them, and run Metacontroller beside it."""
    cluster.apply(metacontroller.CRDS)
    objects = render(kubectl, write_overlay(folder, images, settings))
    controllers = [it for it in objects if it["apiVersion"].startswith("metacontroller.k8s.io/")]
    cluster.apply(_in_order([it for it in objects if it not in controllers]))
    cluster.apply(render(kubectl, POOL))
    for name in DEPLOYMENTS:
        cluster.wait_for("apps/v1", "Deployment", name, NAMESPACE, _is_available, 400, "Available")
    with Metacontroller.start(cluster, controllers, hook_url(cluster)) as running:
        yield Installed(cluster, running)


def hook_url(cluster: Cluster) -> str:
    """By address: Metacontroller runs on the host, where the cluster's names mean nothing."""
    service = cluster.get("v1", "Service", SERVICE, NAMESPACE)
    assert service, "deploy/ makes it"
    return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"


def write_overlay(folder: Path, images: Mapping[str, str], settings: Mapping[str, str]) -> Path:
    """A kustomization over deploy/, as an administrator would write one."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: reference.rsplit(":", 1) for name, reference in images.items()}
    chosen = [{"name": _given(name), "newName": place, "newTag": tag} for name, (place, tag) in parts.items()]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(OVERLAY, folder.resolve())],
        "configurations": [os.path.relpath(IMAGE_FIELDS, folder.resolve())],
        "images": chosen,
        "configMapGenerator": [
            {
                "name": SERVICE,
                "namespace": NAMESPACE,
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in {**SETTINGS, **settings}.items()],
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization, sort_keys=False))
    return folder


def _given(name: str) -> str:
    """deploy/base has put its own registry before the name already."""
    base = yaml.safe_load((PROJECT / "deploy" / "base" / "kustomization.yaml").read_text())
    return str(next(image["newName"] for image in base["images"] if image["name"] == name))


def render(kubectl: Path, folder: Path) -> list[Object]:
    command = [str(kubectl), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl kustomize {folder}: {done.stderr}")
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def _in_order(objects: Sequence[Object]) -> list[Object]:
    """Kinds before their objects, namespaces before what is in them."""
    first = ("CustomResourceDefinition", "Namespace")
    return sorted(objects, key=lambda it: first.index(it["kind"]) if it["kind"] in first else len(first))


def _is_available(deployment: Object) -> bool:
    status = deployment.get("status", {})
    return bool(status.get("availableReplicas", 0) >= deployment["spec"]["replicas"])
