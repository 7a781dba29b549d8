"""LeaderWorkerSet in the sandbox: the real manager where its binary is at hand, a played status elsewhere.

$LWS_MANAGER names the manager's binary and $LWS_CONFIG the `config` folder of its source, which holds its CRDs and
webhooks. Without them there is a CRD of ours and a KWOK stage; no pods are made then.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.api import Object, read_objects
from tools.sandbox.certs import write_key_pair
from tools.sandbox.process import PATIENCE_SECONDS, Process, accepts, free_port

CRDS = Path(__file__).parent / "crds" / "leaderworkersets.yaml"
STAGE = Path(__file__).parent / "stages" / "lws" / "leaderworkerset.yaml"
PORT_FILE = "webhook-port"


@dataclass(frozen=True)
class Manager:
    """The real LWS manager and the folder with its manifests."""

    binary: Path
    config: Path

    def crds(self) -> list[Object]:
        return read_objects(self.config / "crd" / "bases")

    def webhooks(self, directory: Path) -> list[Object]:
        """Its webhook configurations, pointed at the manager that runs from `directory`."""
        port = (directory / PORT_FILE).read_text()
        ca = base64.b64encode((directory / "tls.crt").read_bytes()).decode()
        configurations = read_objects(self.config / "webhook" / "manifests.yaml")
        return [_on_loopback(configuration, port, ca) for configuration in configurations]


def find_manager() -> Manager | None:
    """The real manager, when the environment names it."""
    binary, config = os.environ.get("LWS_MANAGER"), os.environ.get("LWS_CONFIG")
    if not binary:
        return None
    if not config:
        raise RuntimeError("LWS_MANAGER is set, but LWS_CONFIG is not: it names the `config` folder of the LWS source")
    return Manager(Path(binary), Path(config))


def start_manager(manager: Manager, directory: Path, kubeconfig: Path) -> Process:
    """Run the manager and wait until its webhooks listen: their failure policy is Fail."""
    write_key_pair(directory, "lws-webhooks")
    webhook_port, health_port = free_port(), free_port()
    (directory / PORT_FILE).write_text(str(webhook_port))
    settings = directory / "config.yaml"
    settings.write_text(json.dumps(_configuration(directory, webhook_port, health_port)))
    env = {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": "default"}
    process = Process.start("lws", [manager.binary, f"--config={settings}"], directory / "lws.log", env)
    process.wait_until(lambda: accepts("127.0.0.1", webhook_port)[0], PATIENCE_SECONDS)
    return process


def _configuration(directory: Path, webhook_port: int, health_port: int) -> Object:
    return {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": webhook_port, "certDir": str(directory)},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health_port}"},
        "metrics": {"bindAddress": "0"},
        "clientConnection": {"qps": 1000, "burst": 1000},
    }


def _on_loopback(configuration: Object, port: str, ca: str) -> Object:
    """A webhook by URL instead of by Service; pods only where they are LWS's own, as its kustomize patches do."""
    webhooks = []
    for webhook in configuration["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        client = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": ca}
        selector = {}
        if any("pods" in rule["resources"] for rule in webhook["rules"]):
            marked = [{"key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists"}]
            selector = {"objectSelector": {"matchExpressions": marked}}
        webhooks.append(webhook | selector | {"clientConfig": client})
    metadata = {**configuration["metadata"], "name": "lws-" + configuration["metadata"]["name"]}
    return {**configuration, "metadata": metadata, "webhooks": webhooks}
