"""The node's containerd: its images, which stay from run to run, and its containers, which do not."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox.node import config, oci
from sandbox.node.build import Builder, Report
from sandbox.node.machine import Machine, NodeError
from sandbox.process import Process

NAMESPACE = "k8s.io"
"""Where containerd's CRI keeps what is the kubelet's."""


class Containers:
    """Commands to the containerd that runs in the node."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._root = machine.cache / "containerd"

    @contextmanager
    def running(self, *, cri: bool) -> Iterator[Process]:
        """containerd until the block is left; without CRI nothing starts a container."""
        directory = self._machine.directory
        settings = config.write_containerd(directory, self._root, cri=cri)
        config.socket(directory).unlink(missing_ok=True)
        process = self._machine.start("containerd", ["containerd", f"--config={settings}"])
        try:
            process.wait_until(self._answers, timeout=60)
            yield process
        finally:
            process.stop(0)

    def ctr(self, *argv: str) -> str:
        return self._machine.run(*self._ctr(), *argv)

    def forget_pods(self) -> None:
        """Remove the containers of an earlier run, which died with its machine."""
        for name in self.ctr("containers", "list", "--quiet").split():
            self.ctr("containers", "rm", name)
        rows = [line.split() for line in self.ctr("snapshots", "list").splitlines()[1:]]
        for row in rows:
            if row[-1] == "Active":
                self.ctr("snapshots", "rm", row[0])
        for kind in ("sandboxes", "containers"):
            shutil.rmtree(self._root / "io.containerd.grpc.v1.cri" / kind, ignore_errors=True)

    def ensure_pause_image(self) -> None:
        if config.PAUSE_IMAGE not in self.images():
            archive = self._machine.directory / "pause.tar"
            oci.write_pause_image(archive)
            self.ctr("images", "import", str(archive))

    def ensure_images(self, builder: Builder, references: Sequence[str], report: Report) -> None:
        """Import what is missing, by its layers: those that are there are neither exported nor imported again."""
        present = self.images()
        if missing := [reference for reference in references if reference not in present]:
            begun = time.monotonic()
            report(f"importing {len(missing)} images…")
            self._import(builder, missing)
            report(f"imported {len(missing)} images in {time.monotonic() - begun:.0f} s")

    def forget_images(self, keep: Sequence[str]) -> None:
        """Remove images of earlier versions. Layers that nobody uses go with them."""
        for reference in self.images() - {*keep, config.PAUSE_IMAGE}:
            self.ctr("images", "rm", reference)

    def images(self) -> set[str]:
        return set(self.ctr("images", "list", "--quiet").split())

    def _import(self, builder: Builder, references: Sequence[str]) -> None:
        layout = self._machine.cache / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        try:
            known = self._link_known_blobs(layout / "blobs" / "sha256")
            builder.export(references, layout)
            self._import_layout(layout, known)
        finally:
            shutil.rmtree(layout, ignore_errors=True)

    def _link_known_blobs(self, folder: Path) -> set[str]:
        """containerd names its blobs as a layout does, so a hard link tells buildah that one is there."""
        folder.mkdir(parents=True)
        store = self._root / "io.containerd.content.v1.content" / "blobs" / "sha256"
        known = {path.name for path in store.iterdir()} if store.is_dir() else set()
        for name in known:
            os.link(store / name, folder / name)
        return known

    def _import_layout(self, layout: Path, known: set[str]) -> None:
        """Stream the layout to containerd without the layers it has."""
        command = [*self._machine.enter, *self._ctr(), "images", "import", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as ctr:
            assert ctr.stdin
            with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=ctr.stdin, mode="w|") as tar:
                _pack(tar, layout, known)
            ctr.stdin.close()
            told = ctr.stdout.read().decode(errors="replace") if ctr.stdout else ""
        if ctr.returncode:
            raise NodeError(f"import of images failed: {told.strip()[-2000:]}")

    def _ctr(self) -> list[str]:
        return ["ctr", f"--address={config.socket(self._machine.directory)}", f"--namespace={NAMESPACE}"]

    def _answers(self) -> bool:
        with contextlib.suppress(NodeError):
            self.ctr("version")
            return True
        return False


def _pack(tar: tarfile.TarFile, layout: Path, known: set[str]) -> None:
    oci.write_files(tar, {"oci-layout": oci.LAYOUT, "index.json": oci.named_index(layout)})
    for path in sorted((layout / "blobs" / "sha256").iterdir()):
        if path.name not in known:
            tar.add(path, arcname=f"blobs/sha256/{path.name}")
