"""Images of the real node: named by what they are made from, packed as containerd reads them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tools.sandbox.node import addresses, oci
from tools.sandbox.node.build import Recipe
from tools.sandbox.node.config import PAUSE_IMAGE
from tools.sandbox.node.install import DEPLOYMENTS, write_overlay
from tools.sandbox.node.project import names_in_deploy, recipes


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file.py").write_text("one\n")
    (tmp_path / "left.py").write_text("one\n")
    return Recipe("image", tmp_path / "Dockerfile", tmp_path, (tmp_path / "taken",), {"BASE": "base:1"})


def test_a_changed_file_is_another_image(recipe: Recipe) -> None:
    before = recipe.reference
    (recipe.context / "taken" / "file.py").write_text("two\n")
    assert recipe.reference != before


def test_a_file_that_the_image_does_not_take_changes_nothing(recipe: Recipe) -> None:
    before = recipe.reference
    (recipe.context / "left.py").write_text("two\n")
    (recipe.context / "taken" / "__pycache__").mkdir()
    (recipe.context / "taken" / "__pycache__" / "file.pyc").write_text("compiled")
    assert recipe.reference == before


def test_another_base_is_another_image(recipe: Recipe) -> None:
    other = Recipe(recipe.name, recipe.dockerfile, recipe.context, recipe.sources, {"BASE": "base:2"})
    assert other.reference != recipe.reference


def test_the_pause_image_is_what_containerd_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"a static program")
    monkeypatch.setattr(oci, "BUSYBOX", busybox)
    oci.write_pause_image(tmp_path / "pause.tar")
    with tarfile.open(tmp_path / "pause.tar") as tar:
        files = {info.name: _read(tar, info) for info in tar}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"][oci.NAME] == PAUSE_IMAGE
    manifest = json.loads(_blob(files, entry["digest"]))
    configuration = json.loads(_blob(files, manifest["config"]["digest"]))
    assert configuration["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    with tarfile.open(fileobj=io.BytesIO(_blob(files, manifest["layers"][0]["digest"]))) as layer:
        assert layer.getnames() == ["busybox"]


def test_known_blobs_are_not_packed(tmp_path: Path) -> None:
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for name in ("known", "new"):
        (blobs / name).write_text(name)
    named = {"annotations": {"org.opencontainers.image.ref.name": "docker.io/a/b:1"}}
    (tmp_path / "layout" / "index.json").write_text(json.dumps({"manifests": [named]}))
    with tarfile.open(tmp_path / "out.tar", "w") as tar:
        oci.pack_layout(tar, tmp_path / "layout", {"known"})
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert sorted(tar.getnames()) == ["blobs/sha256/new", "index.json", "oci-layout"]


def test_every_image_of_deploy_is_built_and_leader_and_worker_share_all_they_take() -> None:
    _, ours = recipes()
    assert set(names_in_deploy(ours)) == {
        "inference-operator",
        "inference-leader",
        "inference-worker",
        "model-downloader",
    }
    leader, worker = (next(it for it in ours if it.name == f"inference-{role}") for role in ("leader", "worker"))
    assert (leader.dockerfile, leader.sources, leader.arguments) == (
        worker.dockerfile,
        worker.sources,
        worker.arguments,
    )
    assert leader.target != worker.target


def test_the_overlay_names_images_as_deploy_has_renamed_them(tmp_path: Path) -> None:
    images = {"inference-operator": "docker.io/sandbox/inference-operator:abc"}
    overlay = write_overlay(tmp_path / "overlay", images, {"INFERENCE_DRAIN": "1s", "INFERENCE_SHARING": "exclusive"})
    text = (overlay / "kustomization.yaml").read_text()
    assert "INFERENCE_DRAIN=1s" in text
    assert "INFERENCE_SHARING=exclusive" in text
    assert "newTag: abc" in text
    assert "your-registry/inference-operator" in text
    assert "inference-agent" in DEPLOYMENTS


def test_networks_that_the_machine_routes_itself_are_noticed() -> None:
    assert addresses.overlapping(["default", "192.168.1.0/24", "172.17.0.0/16"]) == []
    assert addresses.overlapping(["10.0.0.0/8"]) == ["10.0.0.0/8"]
    assert addresses.overlapping(["10.214.3.0/24"]) == ["10.214.3.0/24"]


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    assert file
    return file.read()


def _blob(files: dict[str, bytes], digest: str) -> bytes:
    """A blob under the name of its own hash."""
    content = files[f"blobs/sha256/{digest.removeprefix('sha256:')}"]
    assert hashlib.sha256(content).hexdigest() == digest.removeprefix("sha256:")
    return content
