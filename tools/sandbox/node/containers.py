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

from tools.sandbox.node import config, oci
from tools.sandbox.node.build import Builder, Report
from tools.sandbox.node.machine import Machine, NodeError
from tools.sandbox.process import PATIENCE_SECONDS, Process

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
            process.wait_until(self._answers, PATIENCE_SECONDS)
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

    def ensure_images(self, builder: Builder, bases: Sequence[str], others: Sequence[str], report: Report) -> None:
        """Import what is missing. Of the others only the layers that are not their bases' are exported and imported."""
        present = self.images()
        for reference in bases:
            if reference not in present:
                with _told(report, reference):
                    self._import_whole(builder, reference)
        if missing := [reference for reference in others if reference not in present]:
            with _told(report, " ".join(missing)):
                self._import_upon(builder, missing)

    def kill(self, container: str) -> None:
        self.ctr("tasks", "kill", "--signal=SIGKILL", container)

    def programs(self, container: str) -> set[str]:
        """Names of the programs that run in a container."""
        pids = [line.split()[0] for line in self.ctr("tasks", "ps", container).splitlines()[1:]]
        return set(self._machine.run("cat", *(f"/proc/{pid}/comm" for pid in pids), check=False).split())

    def forget_images(self, keep: Sequence[str]) -> None:
        """Remove images of earlier versions. Layers that nobody uses go with them."""
        for reference in self.images() - {*keep, config.PAUSE_IMAGE}:
            self.ctr("images", "rm", reference)

    def images(self) -> set[str]:
        return set(self.ctr("images", "list", "--quiet").split())

    def _import_whole(self, builder: Builder, reference: str) -> None:
        with self._scratch() as folder:
            builder.export(reference, folder)
            with self._importing() as tar:
                oci.pack_folder(tar, folder, reference)

    def _import_upon(self, builder: Builder, references: Sequence[str]) -> None:
        with self._scratch() as layout:
            known = self._link_known_blobs(layout / "blobs" / "sha256")
            for reference in references:
                builder.export_onto(reference, layout)
            with self._importing() as tar:
                oci.pack_layout(tar, layout, known)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """On the file system of the store, for hard links; gone afterwards, for it may hold gigabytes."""
        folder = self._machine.cache / "export"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _link_known_blobs(self, folder: Path) -> set[str]:
        """containerd names its blobs as a layout does, so a hard link tells buildah that one is there."""
        folder.mkdir(parents=True)
        store = self._root / "io.containerd.content.v1.content" / "blobs" / "sha256"
        known = {path.name for path in store.iterdir()} if store.is_dir() else set()
        for name in known:
            os.link(store / name, folder / name)
        return known

    @contextmanager
    def _importing(self) -> Iterator[tarfile.TarFile]:
        """A tar that containerd reads while it is written."""
        command = [*self._machine.enter, *self._ctr(), "images", "import", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as ctr:
            assert ctr.stdin
            assert ctr.stdout
            with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=ctr.stdin, mode="w|") as tar:
                yield tar
            with contextlib.suppress(BrokenPipeError):
                ctr.stdin.close()
            told = ctr.stdout.read().decode(errors="replace")
        if ctr.returncode:
            raise NodeError(f"import of images failed: {told.strip()[-2000:]}")

    def _ctr(self) -> list[str]:
        return ["ctr", f"--address={config.socket(self._machine.directory)}", f"--namespace={NAMESPACE}"]

    def _answers(self) -> bool:
        with contextlib.suppress(NodeError):
            self.ctr("version")
            return True
        return False


@contextmanager
def _told(report: Report, what: str) -> Iterator[None]:
    begun = time.monotonic()
    report(f"importing {what}…")
    yield
    report(f"imported in {time.monotonic() - begun:.0f} s")
