"""The agent in the sandbox: the real process, with the rights of its service account in deploy/base and no others."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.sandbox.api import Object, read_objects
from tools.sandbox.cluster import Cluster
from tools.sandbox.hooks import PROJECT, read_settings
from tools.sandbox.kubeconfig import Access, write_kubeconfig
from tools.sandbox.policies import policies, wait_held
from tools.sandbox.process import PATIENCE_SECONDS, Process, free_port

MANIFESTS = PROJECT / "deploy" / "base"
NAMESPACE = "inference-system"
ACCOUNT = "inference-agent"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
"""As the audit log names the agent."""
TOKEN_SECONDS = 24 * 3600
RIGHTS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def rights() -> list[Object]:
    """The namespace and what the agent may do, of deploy/base."""
    found = read_objects(MANIFESTS / "namespace.yaml") + read_objects(MANIFESTS / "agent.yaml")
    return [item for item in found if item["kind"] in RIGHTS]


def wait_rights(cluster: Cluster) -> None:
    """Return once the agent has its rights, those of its namespace and those of the cluster."""
    cluster.wait_allowed(USER, "get", "leases.coordination.k8s.io", NAMESPACE, ACCOUNT)
    cluster.wait_allowed(USER, "patch", "pods", "default")


class Agent:
    """A running replica of the agent; `name` tells several apart."""

    def __init__(self, cluster: Cluster, settings: Mapping[str, str], name: str = "agent") -> None:
        self.name = name
        self.port = free_port()
        self._settings = dict(settings)
        self._directory = cluster.directory
        self._kubeconfig = _write_kubeconfig(cluster, cluster.directory / f"{name}.kubeconfig")
        self._process = self._launch()

    @classmethod
    @contextmanager
    def start(cls, cluster: Cluster, settings: Mapping[str, str] | None = None, name: str = "agent") -> Iterator[Agent]:
        """Observe and bind until the block is left, under the project's policies. Its CRDs must be there."""
        chosen = read_settings() if settings is None else settings
        cluster.apply([*rights(), *policies(chosen)])
        wait_held(cluster)
        wait_rights(cluster)
        running = cls(cluster, chosen, name)
        try:
            yield running
        finally:
            running.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> Path:
        return self._process.log

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def restart(self) -> None:
        """End the process and start another, which knows nothing of the first."""
        self.stop()
        self._process = self._launch()

    def kill(self) -> None:
        """End the process as a lost node does: it releases nothing."""
        self._process.stop(grace=0)

    def check(self) -> None:
        self._process.check()

    def stop(self) -> None:
        """With the time that it needs to let go of its Lease."""
        self._process.stop(grace=60)

    def _launch(self) -> Process:
        argv = [sys.executable, "-m", "app", "agent", f"--kubeconfig={self._kubeconfig}", f"--namespace={NAMESPACE}"]
        argv += ["--host=127.0.0.1", f"--port={self.port}"]
        env = {"PYTHONPATH": str(PROJECT), **self._settings}
        process = Process.start(self.name, argv, self._directory / f"{self.name}.log", env)
        process.wait_until(self.is_ready, PATIENCE_SECONDS)
        return process

    def is_ready(self) -> bool:
        """In sync as the leader, or able to take over."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _write_kubeconfig(cluster: Cluster, path: Path) -> Path:
    """A kubeconfig with a token of the service account, as kubelet would mount it."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS},
    }
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    token = cluster.api.request("POST", account, body=body)["status"]["token"]
    admin = cluster.access
    return write_kubeconfig(path, Access(admin.server, token, admin.ca), ACCOUNT)
