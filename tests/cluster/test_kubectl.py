"""What users do with kubectl: apply deploy/ and the examples, and read the tables it prints."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.world import EXAMPLES, World
from tools.sandbox.binaries import KUBECTL, ensure_binaries
from tools.sandbox.cluster import Cluster, has_condition
from tools.sandbox.metacontroller import CRDS as METACONTROLLER_CRDS
from tools.sandbox.operator import PROJECT

NAMESPACE = "inference-system"


@dataclass(frozen=True)
class Kubectl:
    """The real kubectl, as an administrator of one cluster."""

    binary: Path
    kubeconfig: Path

    def run(self, *arguments: str) -> str:
        """Standard output; fails with both outputs when kubectl does."""
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent)}
        done = subprocess.run([self.binary, *arguments], env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """The rows of `kubectl get`, by column; cells are apart by three spaces."""
        header, *lines = self.run("get", *arguments).splitlines()
        titles = header.split()
        starts = [header.index(title) for title in titles]
        ends = [*starts[1:], None]
        return [
            {title: line[start:end].strip() for title, start, end in zip(titles, starts, ends, strict=True)}
            for line in lines
        ]


@pytest.fixture(scope="session")
def binary() -> Path:
    return ensure_binaries(tools=[KUBECTL])["kubectl"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster where Metacontroller's kinds are known and nothing else was installed."""
    with Cluster.start(Path(tmp_path_factory.mktemp("bare")), nodes=1) as cluster:
        cluster.apply(METACONTROLLER_CRDS)
        yield cluster


@pytest.mark.parametrize("folder", ["deploy/base", "deploy/overlays/with-lws"])
def test_deploy_is_accepted_and_its_pods_run_under_restricted_security(
    bare: Cluster, binary: Path, folder: str
) -> None:
    kubectl = Kubectl(binary, bare.kubeconfig)
    kubectl.run("apply", "--server-side", "-k", str(PROJECT / folder))
    deployment = bare.wait_for(
        "apps/v1", "Deployment", "inference-operator", NAMESPACE, lambda it: has_condition(it, "Available")
    )
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "your-registry/inference-operator:v0.1.0"
    controller = bare.get("metacontroller.k8s.io/v1alpha1", "CompositeController", "inferenceservice")
    assert controller is not None
    kinds = {it["resource"] for it in controller["spec"]["childResources"]}
    assert ("leaderworkersets" in kinds) == (folder != "deploy/base")


def test_one_entry_an_image_is_enough_to_use_another_registry(binary: Path, tmp_path: Path) -> None:
    names = ("inference-operator", "inference-leader", "inference-worker", "model-downloader")
    lines = [f"- {{name: your-registry/{name}, newName: elsewhere.example/{name}, newTag: v9}}" for name in names]
    base = os.path.relpath(PROJECT / "deploy" / "base", tmp_path)
    configuration = os.path.relpath(PROJECT / "deploy" / "base" / "image-fields.yaml", tmp_path)
    text = "\n".join(["resources:", f"- {base}", "configurations:", f"- {configuration}", "images:", *lines])
    (tmp_path / "kustomization.yaml").write_text(text)
    (tmp_path / "image-fields.yaml").write_bytes((PROJECT / "deploy" / "base" / "image-fields.yaml").read_bytes())
    rendered = Kubectl(binary, tmp_path / "none").run(
        "kustomize", "--load-restrictor=LoadRestrictionsNone", str(tmp_path)
    )
    assert "your-registry" not in rendered
    for name in names:
        assert f"elsewhere.example/{name}:v9" in rendered


def test_the_samples_are_applied_and_listed_at_a_glance(world: World, binary: Path) -> None:
    kubectl = Kubectl(binary, world.cluster.kubeconfig)
    world.create_namespace(NAMESPACE)
    try:
        for name in ("llama2-cache", "llama2-7b-service", "llama2-endpoint"):
            kubectl.run("apply", "-f", str(EXAMPLES / f"{name}.yaml"))
        kubectl.run("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=240s", "infsvc/llama2-7b-service")
        kubectl.run("wait", "-n", NAMESPACE, "--for=condition=Available", "--timeout=240s", "iep/llama2-endpoint")
        [service] = kubectl.table("-n", NAMESPACE, "inferenceservices")
        assert (service["PHASE"], service["READY"], service["MODEL"]) == ("Ready", "1", "llama-2-7b-chat")
        assert service["GPUS"] == "2x2 TP2 PP1 DP2"
        [cache] = kubectl.table("-n", NAMESPACE, "mcache")
        assert (cache["PHASE"], cache["PROGRESS"], cache["READY"]) == ("Ready", "100", "True")
        [endpoint] = kubectl.table("-n", NAMESPACE, "iep")
        assert (endpoint["AVAILABLE"], endpoint["URL"]) == ("True", "https://llama2.example.com")
        everything = kubectl.run("get", "amd-inference", "-n", NAMESPACE, "-o", "name").split()
        assert len(everything) == 3
        assert "Default sampling temperature" in kubectl.run("explain", "inferenceservice.spec.model.temperature")
        kubectl.run("scale", "-n", NAMESPACE, "infsvc/llama2-7b-service", "--replicas=1")
    finally:
        World(world.operator, NAMESPACE).remove_services()


def test_gpu_nodes_are_listed_at_a_glance(world: World, binary: Path) -> None:
    kubectl = Kubectl(binary, world.cluster.kubeconfig)
    rows = {row["NAME"]: (row["PRODUCT"], row["GPUS"], row["ZONE"]) for row in kubectl.table("gpunodes")}
    assert rows["mi300x-0"] == ("MI300X", "8 spx_nps1", "zone-a")
    assert rows["mi300x-1"] == ("MI300X", "8 spx_nps1", "zone-b")
