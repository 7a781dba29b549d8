"""A kubelet for downloads: the pods of ModelCaches' Jobs in one namespace run as processes of this machine.

The process is the downloader itself. As on a node, its environment is what the pod's manifest says, Secrets are looked
up by their references, the token is asked for in the name of the pod's own account and bound to the pod, and how the
process ended becomes the pod's status. A claim is a folder; where the manifest mounts it, this machine has none, so
variables that name the mount name that folder instead. Needs root, for a mount namespace with the account's files.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tools.sandbox.api import ApiError, Object
from tools.sandbox.cluster import Cluster, wait_until
from tools.sandbox.operator import PROJECT

RUNS_HERE = "test.inference.ai/runs-downloads"
"""Label of namespaces whose downloads run as processes."""
SCHEDULER = "runner"
COMPONENT = {"app.kubernetes.io/component": "model-downloader"}
TOKEN_SECONDS = 3600
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
"""Keeps conditions that others wrote, such as that a pod is being evicted."""

_ENTER = """
mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io/serviceaccount &&
cp "$1"/* /run/secrets/kubernetes.io/serviceaccount/ && shift && exec "$@"
"""


def install(cluster: Cluster) -> None:
    """Downloads of labelled namespaces are kept from KWOK's nodes: they ask for a scheduler that does not exist."""
    policies = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    expression = f'Object{{spec: Object.spec{{schedulerName: "{SCHEDULER}"}}}}'
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {RUNS_HERE: "true"}},
            "objectSelector": {"matchLabels": COMPONENT},
            "resourceRules": [rule],
        },
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
    }
    metadata = {"name": "downloads-run-here"}
    cluster.apply(
        [
            {"apiVersion": policies, "kind": "MutatingAdmissionPolicy", "metadata": metadata, "spec": spec},
            {
                "apiVersion": policies,
                "kind": "MutatingAdmissionPolicyBinding",
                "metadata": metadata,
                "spec": {"policyName": metadata["name"]},
            },
        ]
    )


def wait_installed(cluster: Cluster, namespace: str) -> None:
    """A policy holds a moment after it is stored; a dry run tells."""
    container = {
        "name": "downloader",
        "image": "none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace, "labels": COMPONENT},
        "spec": {"containers": [container], "securityContext": security},
    }

    def holds() -> bool:
        path = f"/api/v1/namespaces/{namespace}/pods"
        made = cluster.api.request("POST", path, body=pod, params={"dryRun": "All"})
        return bool(made["spec"]["schedulerName"] == SCHEDULER)

    wait_until(holds, "the admission policy holds")


@dataclass
class Running:
    """One pod's process."""

    pod: Object
    process: subprocess.Popen[bytes]
    folder: Path
    token: str = field(repr=False)
    asked_to_end: bool = False


@dataclass
class Runner:
    """Starts, watches and ends the processes of one namespace."""

    cluster: Cluster
    namespace: str
    folder: Path
    environment: Mapping[str, str]
    """What a node or its network would add."""
    running: dict[str, Running] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    """Exit codes, in order."""
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[Runner]:
        leave = threading.Event()
        thread = threading.Thread(target=self._work, args=(leave,), name="runner", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            leave.set()
            thread.join(timeout=30)
            for it in self.running.values():
                it.process.kill()
                it.process.wait()
        assert not self.problems, self.problems

    def volume(self, claim: str) -> Path:
        """The folder that is a claim's volume."""
        folder = self.folder / "volumes" / claim
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("pods/*/log")))

    def the_one(self) -> Running:
        """The process that runs now."""
        wait_until(lambda: bool(self.running), "a download runs")
        [found] = self.running.values()
        return found

    def _work(self, leave: threading.Event) -> None:
        while not leave.wait(0.2):
            try:
                self._look()
            except ApiError as error:
                # a namespace or pod that goes away while we look
                if error.code not in (404, 409):
                    self.problems.append(str(error))
            except Exception as error:
                self.problems.append(repr(error))

    def _look(self) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in self._pods()}
        for uid, it in list(self.running.items()):
            gone = uid not in pods or "deletionTimestamp" in pods[uid]["metadata"]
            if gone and not it.asked_to_end and it.process.poll() is None:
                it.asked_to_end = True  # once, as a kubelet: a second signal may find an interpreter that takes none
                it.process.send_signal(signal.SIGTERM)
            if it.process.poll() is not None:
                del self.running[uid]
                self._report_end(it, there=uid in pods)
        for uid, pod in pods.items():
            new = pod["status"].get("phase") == "Pending" and "deletionTimestamp" not in pod["metadata"]
            if new and uid not in self.running:
                self._start(pod)

    def _pods(self) -> list[Object]:
        selector = ",".join(f"{key}={value}" for key, value in COMPONENT.items())
        found = self.cluster.list("v1", "Pod", self.namespace, selector)
        return [pod for pod in found if pod["spec"].get("schedulerName") == SCHEDULER]

    def _start(self, pod: Object) -> None:
        folder = self.folder / "pods" / pod["metadata"]["name"]
        account = folder / "account"
        account.mkdir(parents=True, exist_ok=True)
        token = self._token(pod)
        (account / "token").write_text(token)
        (account / "ca.crt").write_text(self._authority())
        command = [sys.executable, "-m", "app.downloader.main"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(account), *command],
                env=self._environment(pod, folder),
                stdout=log,
                stderr=log,
            )
        self.running[pod["metadata"]["uid"]] = Running(pod, process, folder, token)
        self._say(pod, "Running", {"running": {}})

    def _token(self, pod: Object) -> str:
        """As the kubelet asks for it: of the pod's account, bound to the pod."""
        metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        body = {"spec": {"boundObjectRef": bound, "expirationSeconds": TOKEN_SECONDS}}
        return str(self.cluster.api.request("POST", path, body=body)["status"]["token"])

    def _authority(self) -> str:
        """As the kubelet takes it: from the namespace."""
        found = self.cluster.get("v1", "ConfigMap", "kube-root-ca.crt", self.namespace)
        assert found is not None
        return str(found["data"]["ca.crt"])

    def _environment(self, pod: Object, folder: Path) -> dict[str, str]:
        [container] = pod["spec"]["containers"]
        found = ((it["name"], it.get("persistentVolumeClaim")) for it in pod["spec"]["volumes"])
        claims = {name: claim["claimName"] for name, claim in found if claim}
        mounts = {it["mountPath"]: it["name"] for it in container["volumeMounts"] if it["name"] in claims}
        folders = {path: str(self.volume(claims[name])) for path, name in mounts.items()}
        values = {it["name"]: value for it in container["env"] if (value := self._value(it)) is not None}
        server = urlsplit(self.cluster.server)
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT),
            "HOME": str(folder),
            "HF_HOME": str(folder / "huggingface"),
            "INFERENCE_TERMINATION_LOG": str(folder / "termination-log"),
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
            **{name: folders.get(value, value) for name, value in values.items()},
            **self.environment,
        }

    def _value(self, variable: Object) -> str | None:
        if "valueFrom" not in variable:
            return str(variable["value"]).replace("$$", "$")
        reference = variable["valueFrom"]["secretKeyRef"]
        secret = self.cluster.get("v1", "Secret", reference["name"], self.namespace)
        data = ((secret or {}).get("data") or {}).get(reference["key"])
        assert data or reference.get("optional"), f"{reference} would keep the pod from starting"
        return _decoded(data) if data else None

    def _report_end(self, it: Running, there: bool) -> None:
        code = it.process.returncode
        self.ended.append(code)
        if there:
            shown = code if code >= 0 else 128 - code
            said = it.folder / "termination-log"
            message = {"message": said.read_text()} if said.exists() else {}
            end = {"terminated": {"exitCode": shown, "reason": "Error" if shown else "Completed"} | message}
            self._say(it.pod, "Failed" if shown else "Succeeded", end)

    def _say(self, pod: Object, phase: str, state: Object) -> None:
        [container] = pod["spec"]["containers"]
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": phase == "Running",
            "restartCount": 0,
            "state": state,
        }
        # The Job controller counts pods that are Ready, as a kubelet calls those whose containers run.
        ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
        body = {"status": {"phase": phase, "conditions": [ready], "containerStatuses": [status]}}
        name = pod["metadata"]["name"]
        self.cluster.patch(
            "v1", "Pod", name, self.namespace, body, subresource="status", content_type=STRATEGIC_MERGE_PATCH
        )


def _claim(volume: Object) -> str:
    return str(volume.get("persistentVolumeClaim", {}).get("claimName", ""))


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()
