"""Installing deploy/ as README says, and removing exactly what was installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.sandbox.api import Object
from tools.sandbox.deployed.kubectl import CommandError, Kubectl
from tools.sandbox.operator import PROJECT

DEPLOY = PROJECT / "deploy"
OVERLAY = DEPLOY / "overlays" / "with-lws"
NAMESPACE = "inference-system"
NAME = "inference-operator"
"""Of the hooks' Deployment, and of the ConfigMap with the settings."""
OPERATOR = "the operator"
NOTE = "inference-e2e-installed"
"""ConfigMap of namespace default. On the cluster, for the machine that installed may be gone when another cleans up."""
ROLLOUT = "--timeout=10m"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One step of the installation."""

    name: str
    folder: Path
    namespace: str
    """Where it runs; that it exists already means that somebody else installed the part."""
    workloads: tuple[str, ...]
    """What must be rolled out before the next part."""


def parts(overlay: Path = OVERLAY) -> tuple[Part, ...]:
    """In the order in which they are installed. `overlay`: the folder for the operator itself."""
    return (
        Part("Metacontroller", DEPLOY / "metacontroller", "metacontroller", ("statefulset/metacontroller",)),
        Part("LeaderWorkerSet", DEPLOY / "lws", "lws-system", ("deployment/lws-controller-manager",)),
        Part(OPERATOR, overlay, NAMESPACE, ("deployment/inference-operator", "deployment/inference-agent")),
        Part("the default pool", DEPLOY / "default-pool", "", ()),
    )


def install(kubectl: Kubectl, known: Sequence[Part], report: Report = print) -> None:
    """Install the parts that are not there, and note on the cluster which these are. Raises CommandError.

    Refused where the operator runs already: it would be replaced, and removed at the end.
    """
    if kubectl.get("v1", "Namespace", NAMESPACE):
        raise CommandError(f"namespace {NAMESPACE} exists: another run, or somebody's operator, is on this cluster")
    noted: list[str] = []
    for part in known:
        if part.namespace and kubectl.get("v1", "Namespace", part.namespace):
            report(f"{part.name} is there already")
            continue
        report(f"installing {part.name}")
        noted.append(part.name)
        kubectl.apply([_note(noted)])  # before the part itself: half of one is removed too
        kubectl.run("apply", "--server-side", "--kustomize", str(part.folder))
        for workload in part.workloads:
            kubectl.run("--namespace", part.namespace, "rollout", "status", workload, ROLLOUT)


def installed(kubectl: Kubectl) -> list[str]:
    """Names of the parts that `install` noted, on whichever machine it ran."""
    note = kubectl.get("v1", "ConfigMap", NOTE, "default")
    return list(json.loads(note["data"]["parts"])) if note else []


def uninstall(kubectl: Kubectl, known: Sequence[Part], report: Report = print) -> list[str]:
    """Remove the parts that `install` noted, the last one first; the failures, in words. Each part is tried."""
    noted, failures = installed(kubectl), []
    for part in reversed([it for it in known if it.name in noted]):
        report(f"removing {part.name}")
        try:
            kubectl.run("delete", "--ignore-not-found", "--wait", "--timeout=5m", "--kustomize", str(part.folder))
        except CommandError as error:
            failures.append(str(error))
    if not noted:
        report("nothing was installed")
    elif not failures:
        kubectl.run("delete", "configmap", NOTE, "--namespace=default")
    return failures


def _note(names: Sequence[str]) -> Object:
    metadata = {"name": NOTE, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"parts": json.dumps(list(names))}}


def operator_image(kubectl: Kubectl, overlay: Path = OVERLAY) -> str:
    """The name under which deploy/ asks for the operator's image."""
    documents: Sequence[Object] = list(yaml.safe_load_all(kubectl.run("kustomize", str(overlay))))
    deployment = next(it for it in documents if (it["kind"], it["metadata"]["name"]) == ("Deployment", NAME))
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def write_overlay(folder: Path, registry: str, tag: str, settings: dict[str, str]) -> Path:
    """A kustomization over deploy/ with other images and settings, as users write it: its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    base = yaml.safe_load((DEPLOY / "base" / "kustomization.yaml").read_text())
    relative = Path("/".join([".."] * len(folder.relative_to(PROJECT).parts)))
    fields = DEPLOY / "base" / "image-fields.yaml"
    shutil.copy(fields, folder)  # kustomize takes configurations from its own folder only
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(relative / OVERLAY.relative_to(PROJECT))],
        "configurations": [fields.name],
        "images": [
            {"name": it["newName"], "newName": f"{registry}/{it['name']}", "newTag": tag} for it in base["images"]
        ],
        "configMapGenerator": [
            {
                "name": NAME,
                "namespace": NAMESPACE,
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in settings.items()],
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder
