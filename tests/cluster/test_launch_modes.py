"""Pods of every launch mode under an enforced "restricted" namespace, and the ssh keys of the one that needs them."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from inference_runtime import secret
from inference_runtime.failure import Failure

from tests.cluster.world import API, World, condition, group, service
from tests.inferenceservice.service import DISTRIBUTED, call, spec
from tools.sandbox.api import Api, ApiError, Object
from tools.sandbox.cluster import wait_until
from tools.sandbox.kubeconfig import Access

MPI = {"distributed": {"enabled": True, "size": 2, "mpi": {"enabled": True}}}
RAY = {"vllm": {"engineArgs": {"distributed_executor_backend": "ray"}}}
RBAC = "rbac.authorization.k8s.io/v1"
RIGHTS = (("ServiceAccount", "v1"), ("Role", RBAC), ("RoleBinding", RBAC))


def test_a_service_of_every_launch_mode_becomes_ready_in_a_restricted_namespace(world: World) -> None:
    """Admission refuses the pod, so such a service would stay without one."""
    modes = [service("single"), group("native"), group("mpi", **MPI), group("ray", **RAY)]
    for name, item in ((item["metadata"]["name"], item) for item in modes):
        world.apply(item)
        world.wait_ready(name)
        world.cluster.delete(API, "InferenceService", name, world.namespace, propagation="Foreground")
        wait_until(lambda name=name: world.get(API, "InferenceService", name) is None, f"{name} is gone")  # type: ignore[misc]


def test_the_job_of_the_keys_runs_first_and_its_rights_do_not_outlive_it(world: World) -> None:
    world.apply(group("mpi", **MPI))
    world.wait_ready("mpi")
    job = world.get("batch/v1", "Job", "mpi-ssh-keys")
    assert condition(job, "Complete")["status"] == "True"
    for kind, version in RIGHTS:
        wait_until(
            lambda kind=kind, version=version: world.get(version, kind, "mpi-ssh-keys") is None,  # type: ignore[misc]
            f"{kind} is gone",
        )


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_make_ssh_keys_creates_the_secret_once_and_may_do_nothing_else(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image's program against the API server, with rights and environment as the operator gives them."""
    answer = call(spec(**DISTRIBUTED | {"distributed": MPI["distributed"]}))
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        item = answer.child(kind)
        for subject in item.get("subjects", ()):
            subject["namespace"] = world.namespace
        world.apply(item)
    user = f"system:serviceaccount:{world.namespace}:demo-ssh-keys"
    world.cluster.wait_allowed(user, "create", "secrets", world.namespace)
    account = tmp_path / "account"
    monkeypatch.setattr(secret, "ACCOUNT", account)
    become_pod(world, answer.child("Job"), account, monkeypatch)
    assert secret.main([]) == 0
    made = world.get("v1", "Secret", "demo-ssh-keys")
    assert made is not None
    assert made["type"] == "kubernetes.io/ssh-auth"
    assert secret.main([]) == 0
    assert (world.get("v1", "Secret", "demo-ssh-keys") or {})["data"] == made["data"]
    access = world.cluster.access
    with closing(Api(Access(access.server, (account / "token").read_text(), access.ca))) as pod:
        for method, kind in (("GET", "secrets"), ("GET", "secrets/demo-ssh-keys"), ("DELETE", "secrets/demo-ssh-keys")):
            with pytest.raises(ApiError, match="forbidden"):
                pod.request(method, f"/api/v1/namespaces/{world.namespace}/{kind}")
    monkeypatch.setenv("INFERENCE_SECRET_NAME", "Not A Name")
    with pytest.raises(Failure, match="the API server answers 422"):
        secret.main([])


def become_pod(world: World, job: Object, account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kubelet gives the Job's container: its environment, and its account's token."""
    access, name = world.cluster.access, job["metadata"]["name"]
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = world.cluster.api.request("POST", path, body=request)["status"]["token"]
    account.mkdir()
    for file, content in (("token", token), ("ca.crt", access.ca), ("namespace", world.namespace)):
        (account / file).write_text(content)
    [container] = job["spec"]["template"]["spec"]["containers"]
    server = urlsplit(access.server)
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    # a live owner, or garbage collection takes the Secret at once
    service = world.apply(group("demo"))
    reference = {"apiVersion": API, "kind": "InferenceService", "name": "demo", "uid": service["metadata"]["uid"]}
    monkeypatch.setenv("INFERENCE_SECRET_OWNER", json.dumps(reference))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
