"""Where the control plane's programs come from.

In this order: the folder named by $KUBEBUILDER_ASSETS (envtest's convention), our cache, and `go build` of the versions
that tools/go.mod and stores/go.mod pin, once per machine. Nothing is looked up in PATH: another version there would
pass unnoticed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.process import tail

TOOLS_MODULE = Path(__file__).parent / "tools"
COREDNS_MODULE = TOOLS_MODULE / "coredns"
"""A module of its own: CoreDNS wants other versions of what it shares with Kubernetes."""
STORES_MODULE = Path(__file__).parent / "stores"
"""Apart from the tools, so that neither's pins push the other's."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class Tool:
    """A program, the Go package that builds it, and how long that takes on two cores with a cold cache."""

    name: str
    package: str
    estimate: str
    module: Path = TOOLS_MODULE
    """Folder of the go.mod that pins it."""

    @property
    def directory(self) -> Path:
        """The cache folder of exactly the versions that its go.mod pins."""
        return cache_root() / hashlib.sha256((self.module / "go.mod").read_bytes()).hexdigest()[:16]


TOOLS = (
    Tool("etcd", "go.etcd.io/etcd/server/v3", "40 seconds"),
    Tool("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "4 minutes"),
    Tool("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "1 minute"),
    Tool("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", "20 seconds"),
    Tool("kwok", "sigs.k8s.io/kwok/cmd/kwok", "20 seconds"),
)
KUBECTL = Tool("kubectl", "k8s.io/kubernetes/cmd/kubectl", "1 minute")
"""What users hold in their hands; only tests need it."""
NODE_TOOLS = (
    Tool("kubelet", "k8s.io/kubernetes/cmd/kubelet", "2.5 minutes"),
    Tool("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", "20 seconds"),
    Tool("coredns", "github.com/coredns/coredns", "3 minutes", COREDNS_MODULE),
)
"""What a real node runs beside its container runtime."""
GCS = Tool("fake-gcs-server", "github.com/fsouza/fake-gcs-server", "1 minute", STORES_MODULE)
"""Google Cloud Storage's API on this machine, for the downloader's tests."""
Binaries = dict[str, Path]


class BinariesMissingError(RuntimeError):
    """Programs are missing and cannot be built; the message says what to do."""


def cache_root() -> Path:
    """The folder of everything the sandbox keeps from run to run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inference-operator" / "sandbox"


def _first_executable(paths: list[Path]) -> Path | None:
    return next((path for path in paths if path.is_file() and os.access(path, os.X_OK)), None)


def find_binaries(tools: Sequence[Tool] = TOOLS) -> Binaries:
    """The programs that are there already; absent names are missing."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    given = [Path(assets)] if assets else []
    found = {tool.name: _first_executable([it / tool.name for it in (*given, tool.directory)]) for tool in tools}
    return {name: path for name, path in found.items() if path}


def ensure_binaries(report: Report = print, tools: Sequence[Tool] = TOOLS) -> Binaries:
    """All programs, after building those that are missing. `report` receives a line per build."""
    if missing := _missing(tools):
        _require_go(missing)
        with ExitStack() as locks:
            for directory in sorted({tool.directory for tool in missing}):
                locks.enter_context(_locked(directory, report))
            missing = _missing(tools)  # another run may have built them while we waited
            for number, tool in enumerate(missing, start=1):
                _build(tool, f"{number} of {len(missing)}", report)
    return find_binaries(tools)


def _missing(tools: Sequence[Tool]) -> list[Tool]:
    found = find_binaries(tools)
    return [tool for tool in tools if tool.name not in found]


def _require_go(missing: list[Tool]) -> None:
    if shutil.which("go"):
        return
    names = ", ".join(tool.name for tool in missing)
    raise BinariesMissingError(
        f"Missing: {names}. Install Go 1.26 or newer (https://go.dev/dl) to have them built once, "
        "or set KUBEBUILDER_ASSETS to a folder that holds these programs."
    )


@contextmanager
def _locked(directory: Path, report: Report) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another run is building the programs; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(tool: Tool, position: str, report: Report) -> None:
    """Build into a temporary name and rename, so that an interrupted build leaves nothing that looks complete."""
    directory = tool.directory
    directory.mkdir(parents=True, exist_ok=True)
    log, partial = directory / f"{tool.name}.log", directory / f".{tool.name}.{os.getpid()}"
    argv = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(partial), tool.package]
    title = f"building {tool.name} ({position}), about {tool.estimate} on two cores, first time only"
    begun = time.monotonic()
    with log.open("wb") as output:
        build = subprocess.Popen(
            argv, cwd=tool.module, stdout=output, stderr=output, env={**os.environ, "CGO_ENABLED": "0"}
        )
        try:
            _show_progress(build, title, begun)
        finally:
            if build.poll() is None:
                build.kill()
                build.wait()
    if build.returncode != 0:
        raise BinariesMissingError(f"go build of {tool.name} failed. End of {log}:\n{tail(log)}")
    partial.rename(directory / tool.name)
    report(f"{title}… {time.monotonic() - begun:.0f} s")


def _show_progress(build: subprocess.Popen[bytes], title: str, begun: float) -> None:
    """Count the seconds on one line of a terminal; elsewhere say once what is being waited for."""
    terminal = sys.stderr.isatty()
    if not terminal:
        print(f"{title}…", file=sys.stderr, flush=True)
    while build.poll() is None:
        if terminal:
            print(f"\r{title}… {time.monotonic() - begun:.0f} s", end="", file=sys.stderr, flush=True)
        time.sleep(0.5)
    if terminal:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
