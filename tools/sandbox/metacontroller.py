"""Metacontroller in the sandbox: the real program where $METACONTROLLER names it, else the stand-in."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster
from tools.sandbox.controlplane import USERNAMES
from tools.sandbox.process import Process

CRDS = Path(__file__).parent / "crds" / "metacontroller.yaml"
PROJECT = Path(__file__).parents[2]
WORKERS = 20
USER = USERNAMES["metacontroller"]
"""As the audit log names it."""


def with_hook_url(controller: Object, base: str) -> Object:
    """A copy of a controller whose webhooks are reached at `base` instead of through their Service."""
    result = copy.deepcopy(controller)
    for hook in (result["spec"].get("hooks") or {}).values():
        webhook = hook["webhook"]
        path = webhook.pop("path", "")
        if webhook.pop("service", None) is not None or "url" not in webhook:
            webhook["url"] = base.rstrip("/") + path
    return result


def with_resync(controller: Object, seconds: int | None) -> Object:
    """A copy with another resync period; None keeps what the manifest says."""
    spec = controller["spec"] | ({} if seconds is None else {"resyncPeriodSeconds": seconds})
    return {**controller, "spec": spec}


class Metacontroller:
    """A running Metacontroller, or its stand-in, that serves the given controllers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._process = self._launch()

    @classmethod
    @contextmanager
    def start(
        cls, cluster: Cluster, controllers: list[Object], hook_url: str, *, resync_seconds: int | None = None
    ) -> Iterator[Metacontroller]:
        """Serve `controllers` with their hooks at `hook_url` until the block is left; they are deleted then.

        A short `resync_seconds` forces syncs without any write.
        """
        cluster.apply(CRDS)
        applied = cluster.apply([with_resync(with_hook_url(it, hook_url), resync_seconds) for it in controllers])
        running = cls(cluster)
        try:
            yield running
        finally:
            for controller in applied:
                cluster.delete(controller["apiVersion"], controller["kind"], controller["metadata"]["name"])
            running.stop()

    @property
    def log(self) -> Path:
        return self._process.log

    @property
    def is_real(self) -> bool:
        return bool(os.environ.get("METACONTROLLER"))

    def _launch(self) -> Process:
        kubeconfig = self._cluster.kubeconfig_of("metacontroller")
        argv = _real(kubeconfig) if self.is_real else _standin(kubeconfig)
        log = self._cluster.directory / "metacontroller.log"
        return Process.start("metacontroller", argv, log, {"PYTHONPATH": str(PROJECT)})

    def restart(self) -> None:
        """End the process and start another: caches are empty then, and every parent is synced."""
        self._process.stop()
        self._process = self._launch()

    def check(self) -> None:
        self._process.check()

    def stop(self) -> None:
        self._process.stop()


def _real(kubeconfig: Path) -> list[str]:
    """The client's default of 5 requests a second would make every test wait."""
    return [
        os.environ["METACONTROLLER"],
        f"--kubeconfig={kubeconfig}",
        f"--workers={WORKERS}",
        "--client-go-qps=500",
        "--client-go-burst=1000",
        "--discovery-interval=2s",
        "--metrics-address=0",
        "--health-probe-bind-address=0",
        "--zap-log-level=4",
    ]


def _standin(kubeconfig: Path) -> list[str]:
    return [sys.executable, "-m", "tools.sandbox.standin", f"--kubeconfig={kubeconfig}", f"--workers={WORKERS}"]
