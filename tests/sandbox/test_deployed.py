"""The operator as deploy/ installs it: what can be shown without a container engine and without GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from perf.__main__ import build_parser as build_perf_parser
from perf.scenarios import PROFILES
from tests.golden.schemas import custom_schemas
from tools.sandbox.cluster import STAGES, Cluster
from tools.sandbox.deployed import gpu, install, kind
from tools.sandbox.deployed.__main__ import main
from tools.sandbox.deployed.collect import collect
from tools.sandbox.deployed.kubectl import CommandError, Kubectl, run
from tools.sandbox.deployed.samples import SamplesError, check_groups
from tools.sandbox.operator import PROJECT

Json = dict[str, Any]


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl.find(cluster.kubeconfig)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In the tree, for kustomize is told relative paths."""
    made = PROJECT / "build" / "test-overlay"
    yield made
    for file in made.glob("*"):
        file.unlink()
    if made.exists():
        made.rmdir()


def test_models_are_those_that_expectations_are_of() -> None:
    assert gpu.profiles() == list(PROFILES)


@pytest.mark.parametrize("profile", gpu.profiles())
def test_the_measured_services_are_objects_that_the_api_server_would_store(profile: str) -> None:
    for item in gpu.objects(profile):
        validator = jsonschema.Draft202012Validator(custom_schemas()[item["apiVersion"], item["kind"]])
        assert [it.message for it in validator.iter_errors(item)] == []
        assert item["metadata"]["namespace"] == install.NAMESPACE


@pytest.mark.parametrize("profile", gpu.profiles())
def test_a_service_is_held_to_its_profile(profile: str) -> None:
    command = gpu.perf_command("http://service:8000", profile, Path("plot.svg"))
    arguments = build_perf_parser().parse_args(command[3:])
    assert (arguments.url, arguments.check, arguments.output) == ("http://service:8000", PROFILES[profile], "json")


def test_fake_nodes_on_kind_have_no_address_that_leads_nowhere(tmp_path: Path) -> None:
    """kind's network plugin ends when it cannot set a route to one; all else is as the sandbox plays it."""
    written = kind.write_stages(tmp_path)
    assert [it.name for it in written] == [it.name for it in sorted(STAGES.glob("*.yaml"))]
    changed = {}
    for copy in written:
        before, after = (STAGES / copy.name).read_text(), copy.read_text()
        changed[copy.name] = len(before.splitlines()) - len(after.splitlines())
        assert all(yaml.safe_load_all(after))
    assert changed.pop("nodes.yaml") == 1
    assert set(changed.values()) == {0}
    assert "InternalIP" not in (tmp_path / "stages/nodes.yaml").read_text()


def group_pod(phase: str = "Running", node: str = "mi300x-0") -> Json:
    labels = {"leaderworkerset.sigs.k8s.io/name": "sample"}
    return {"metadata": {"name": "sample-0", "labels": labels}, "spec": {"nodeName": node}, "status": {"phase": phase}}


def test_groups_that_run_are_counted() -> None:
    alone = {"metadata": {"name": "alone"}, "spec": {}, "status": {"phase": "Pending"}}
    assert check_groups([group_pod(), group_pod(), alone]) == 2


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        ([], "LeaderWorkerSet made no pods"),
        ([group_pod("Pending", "")], "pod sample-0 is Pending on no node"),
        ([group_pod(), group_pod("Failed")], "pod sample-0 is Failed on mi300x-0"),
    ],
)
def test_groups_that_do_not_run_are_told(pods: list[Json], told: str) -> None:
    with pytest.raises(SamplesError, match=told):
        check_groups(pods)


def test_a_program_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(CommandError, match=r"sh -c .* failed:\nno room"):
        run(["sh", "-c", "echo no room >&2; exit 3"])
    with pytest.raises(CommandError, match="no-such-program is not installed"):
        run(["no-such-program"])


def test_a_test_without_a_cluster_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kind, "KUBECONFIG", tmp_path / "absent")
    assert main(["kind-test"]) == 1
    assert "`make kind-up` makes it" in capsys.readouterr().err


@pytest.mark.cluster
def test_the_overlay_names_the_registrys_images_and_the_clusters_settings(kubectl: Kubectl, folder: Path) -> None:
    """By the kustomize that applies it; what is not given stays as deploy/ has it."""
    install.write_overlay(folder, "registry.example/team", "ci-1", {"INFERENCE_STORAGE_CLASS": "nfs"})
    built = list(yaml.safe_load_all(kubectl.run("kustomize", str(folder))))
    [settings] = [it for it in built if it["kind"] == "ConfigMap" and "INFERENCE_STORAGE_CLASS" in it["data"]]
    images = {name: value for name, value in settings["data"].items() if name.endswith("_IMAGE")}
    assert images == {
        "INFERENCE_LEADER_IMAGE": "registry.example/team/inference-leader:ci-1",
        "INFERENCE_WORKER_IMAGE": "registry.example/team/inference-worker:ci-1",
        "INFERENCE_DOWNLOADER_IMAGE": "registry.example/team/model-downloader:ci-1",
    }
    assert settings["data"]["INFERENCE_STORAGE_CLASS"] == "nfs"
    assert settings["data"]["INFERENCE_NODE_SELECTOR"] == "accelerator=amd-gpu"
    for deployment in (it for it in built if it["kind"] == "Deployment"):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "registry.example/team/inference-operator:ci-1"
        assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    assert install.operator_image(kubectl, folder) == "registry.example/team/inference-operator:ci-1"


@pytest.mark.cluster
def test_a_cluster_that_has_an_operator_is_left_alone(kubectl: Kubectl, cluster: Cluster) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": install.NAMESPACE}})
    try:
        with pytest.raises(CommandError, match="is on this cluster"):
            install.install(kubectl, install.parts())
        assert install.uninstall(kubectl, install.parts()) == []
        assert kubectl.get("v1", "Namespace", install.NAMESPACE)
    finally:
        kubectl.run("delete", "namespace", install.NAMESPACE)


def part(folder: Path, name: str) -> install.Part:
    """A part that is a namespace of its name."""
    (folder / name).mkdir()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    (folder / name / "namespace.yaml").write_text(yaml.safe_dump(namespace))
    (folder / name / "kustomization.yaml").write_text("resources: [namespace.yaml]\n")
    return install.Part(name, folder / name, name, ())


@pytest.mark.cluster
def test_exactly_what_was_installed_is_removed(kubectl: Kubectl, tmp_path: Path) -> None:
    """What was there stays; what cannot be removed stays noted, and the rest goes all the same."""
    ours, theirs = part(tmp_path, "ours"), part(tmp_path, "theirs")
    broken = install.Part("broken", tmp_path / "no-such-folder", "", ())
    kubectl.run("apply", "--server-side", "--kustomize", str(theirs.folder))
    with pytest.raises(CommandError, match="no-such-folder"):
        install.install(kubectl, [ours, theirs, broken])
    assert install.installed(kubectl) == ["ours", "broken"]
    [failure] = install.uninstall(kubectl, [ours, theirs, broken])
    assert "no-such-folder" in failure
    assert install.installed(kubectl) == ["ours", "broken"]
    assert (kubectl.get("v1", "Namespace", "ours"), bool(kubectl.get("v1", "Namespace", "theirs"))) == (None, True)
    assert install.uninstall(kubectl, [ours, theirs]) == []
    assert install.installed(kubectl) == []
    assert kubectl.get("v1", "Namespace", "theirs")
    kubectl.run("delete", "namespace", "theirs")


@pytest.mark.cluster
def test_what_may_explain_a_failure_is_collected_and_what_is_missing_says_why(kubectl: Kubectl, tmp_path: Path) -> None:
    collect(kubectl, tmp_path / "logs")
    assert {it.name for it in (tmp_path / "logs").iterdir()} >= {"events.txt", "objects.yaml", "summary.txt"}
    assert "# " in (tmp_path / "logs/summary.txt").read_text(), "this cluster has none of our kinds"
