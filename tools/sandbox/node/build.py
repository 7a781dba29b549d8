"""The project's images, built from their Dockerfiles on a local base with buildah, and kept by what they are made of.

An image's tag is a hash of its Dockerfile, its arguments, its base's tag and the files it takes, so an image that is
there is the right one. buildah's store is a folder of ours; the machine's own is not touched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.sandbox.node.machine import NodeError, cache_folder
from tools.sandbox.process import tail

PROJECT = Path(__file__).parents[3]
RECIPES = Path(__file__).parent / "images"
REGISTRY = "docker.io/sandbox"
"""No such registry is ever asked: pods run with images that are there."""
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python-is-python3", "python3", "python3-pip", "python3-venv")
MIRROR = "http://deb.debian.org/debian"
MACHINE_FILES = (Path("/etc/ssl/certs"), Path("/etc/pip.conf"))
Report = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """An image: its Dockerfile, the folder it is built in, and what of that folder it takes."""

    name: str
    dockerfile: Path
    context: Path
    sources: tuple[Path, ...]
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""

    @property
    def reference(self) -> str:
        return f"{REGISTRY}/{self.name}:{self._tag()}"

    def _tag(self) -> str:
        digest = hashlib.sha256(repr((self.target, sorted(self.arguments.items()))).encode())
        for path in (self.dockerfile, *self.sources):
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and "__pycache__" not in file.parts:
                    digest.update(f"{file.relative_to(path.parent)}\0{file.stat().st_mode & 0o111}\0".encode())
                    digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


def base_recipe() -> Recipe:
    """Debian's Python. Its file system is hashed by name: which packages, not which day's versions."""
    context = cache_folder() / "base"
    arguments = {"SUITE": SUITE, "PACKAGES": ",".join(PACKAGES)}
    return Recipe("base", RECIPES / "base.Dockerfile", context, (), arguments)


def vllm_recipe(base: Recipe) -> Recipe:
    """vLLM on processors, in the place of vLLM's ROCm image."""
    files = (RECIPES / "install_vllm.py",)
    return Recipe("vllm-cpu", RECIPES / "vllm-cpu.Dockerfile", RECIPES, files, {"BASE": base.reference})


class Builder:
    """buildah with a store of its own below the cache folder."""

    def __init__(self, report: Report = print) -> None:
        self._root = cache_folder() / "buildah"
        self._report = report

    def ensure(self, recipe: Recipe) -> str:
        """The image's reference, built when it is not there."""
        if not self.has(recipe.reference):
            begun = time.monotonic()
            self._report(f"building image {recipe.name}…")
            if recipe.name == "base":
                _write_root_file_system(recipe.context)
            self._build(recipe)
            self._report(f"built image {recipe.name} in {time.monotonic() - begun:.0f} s")
        return recipe.reference

    def has(self, reference: str) -> bool:
        command = [*self._buildah(), "inspect", "--type=image", reference]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def forget(self, keep: Collection[str]) -> None:
        """Remove images of earlier versions, and layers that nobody uses any more."""
        listed = self._ask("images", "--format={{.Name}}:{{.Tag}}").split()
        for reference in listed:
            if reference.startswith(f"{REGISTRY}/") and reference not in keep:
                self._ask("rmi", reference)
        self._ask("rmi", "--prune")

    def _ask(self, *argv: str) -> str:
        """What buildah answers; "" when it refuses."""
        done = subprocess.run([*self._buildah(), *argv], capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    def export(self, reference: str, folder: Path) -> None:
        """Write an image as it is in the store: manifest.json, and files named by their digests, uncompressed."""
        self._run(["push", "--quiet", "--disable-compression", reference, f"dir:{folder}"], f"export of {reference}")

    def export_onto(self, reference: str, layout: Path) -> None:
        """Add an image to an OCI layout. Layers whose files are there already are neither read nor written."""
        self._run(["push", "--quiet", reference, f"oci:{layout}:{reference}"], f"export of {reference}")

    def _build(self, recipe: Recipe) -> None:
        arguments = [f"--build-arg={name}={value}" for name, value in recipe.arguments.items() if name.isupper()]
        target = [f"--target={recipe.target}"] if recipe.target else []
        command = ["build", "--layers", "--pull-never", "--isolation=chroot", "--network=host", "--format=oci"]
        command += [f"--file={recipe.dockerfile}", f"--tag={recipe.reference}", *arguments, *target]
        command += [*_machine_settings(), str(recipe.context)]
        self._run(command, f"build of {recipe.name}")

    def _run(self, command: Sequence[str], what: str) -> None:
        log = cache_folder() / "buildah.log"
        scratch = {**os.environ, "TMPDIR": str(cache_folder())}
        with log.open("wb") as output:
            done = subprocess.run([*self._buildah(), *command], stdout=output, stderr=output, env=scratch, check=False)
        if done.returncode:
            raise NodeError(f"{what} failed. End of {log}:\n{tail(log)}")

    def _buildah(self) -> list[str]:
        store = [f"--root={self._root / 'root'}", f"--runroot={self._root / 'run'}", "--storage-driver=overlay"]
        # In a mount namespace of its own: buildah would leave its store mounted.
        return ["unshare", "--mount", "--", "buildah", *store]


def _machine_settings() -> list[str]:
    """Builds reach package registries the way this machine does: by its proxies, mirrors and certificates.

    Mounted, or known to the build alone: none of it stays in the image.
    """
    proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
    mounted = [f"--volume={path}:{path}:ro" for path in MACHINE_FILES if path.exists()]
    return [*mounted, *(f"--build-arg={name}={os.environ[name]}" for name in proxies)]


def _write_root_file_system(folder: Path) -> None:
    """rootfs.tar of a minimal Debian."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "rootfs.tar"
    if archive.exists():
        return
    mirror = os.environ.get("DEBIAN_MIRROR", MIRROR)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        root, log = Path(scratch) / "rootfs", folder / "debootstrap.log"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), mirror]
        with log.open("wb") as output:
            done = subprocess.run(command, stdout=output, stderr=output, check=False)
        if done.returncode:
            raise NodeError(f"debootstrap failed. End of {log}:\n{tail(log)}")
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        with tarfile.open(archive.with_suffix(".partial"), "w") as tar:
            tar.add(root, arcname=".")
    archive.with_suffix(".partial").rename(archive)
