"""The keys of a service that mpirun starts: made once by a Job that may do nothing else, or brought by the user."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from inference_runtime.secret import build_secret, make_key

from app.kube.manifest import Manifest
from tests.calls import Answer, stored
from tests.inferenceservice.service import DISTRIBUTED, WORKLOADS, call, pod, spec
from tests.security import violations

MPI = {"distributed": DISTRIBUTED["distributed"] | {"mpi": {"enabled": True}}}
GIVEN = spec(**DISTRIBUTED | MPI)
RIGHTS = {"ServiceAccount", "Role", "RoleBinding"}


def job(answer: Answer, condition: str = "", message: str = "") -> Manifest:
    conditions = [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded", "message": message}]
    return stored(answer.child("Job"), {"conditions": conditions if condition else []})


def test_a_job_with_its_own_account_makes_the_keys_before_gpus_are_taken() -> None:
    answer = call(GIVEN)
    assert {"Job", *RIGHTS} <= set(answer.kinds())
    assert not set(answer.kinds()) & set(WORKLOADS)
    assert answer.condition("Ready")["message"].startswith("waits for Job demo-ssh-keys")
    assert {answer.child(kind)["metadata"]["name"] for kind in ("Job", *RIGHTS)} == {"demo-ssh-keys"}


def test_its_account_may_create_secrets_and_nothing_else() -> None:
    answer = call(GIVEN)
    assert answer.child("Role")["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    assert answer.child("RoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": "demo-ssh-keys", "namespace": "ns"}
    ]
    assert answer.child("Job")["spec"]["template"]["spec"]["serviceAccountName"] == "demo-ssh-keys"


def test_its_pod_meets_the_restricted_pod_security_standard() -> None:
    assert violations(call(GIVEN).child("Job")["spec"]["template"]["spec"]) == []


def test_once_the_job_is_complete_it_stays_and_its_rights_go() -> None:
    first = call(GIVEN)
    answer = call(GIVEN, children=[job(first, "Complete")])
    assert not set(answer.kinds()) & RIGHTS
    assert answer.child("Job") == first.child("Job")
    assert "LeaderWorkerSet" in answer.kinds()


def test_a_job_that_failed_is_told_with_what_to_do() -> None:
    answer = call(GIVEN, children=[job(call(GIVEN), "Failed", "Job has reached the specified backoff limit")])
    said = answer.condition("Ready")
    assert said["reason"] == "Failed"
    assert "backoff limit; delete the Job to try again" in said["message"]


def test_a_running_group_stays_when_the_job_is_deleted() -> None:
    first = call(GIVEN)
    running = call(GIVEN, children=[job(first, "Complete")]).child("LeaderWorkerSet")
    answer = call(GIVEN, children=[stored(running)])
    assert answer.child("LeaderWorkerSet") == running
    assert "Job" in answer.kinds()


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        pytest.param({"enabled": True, "sshKeySecret": "mine"}, "mine", id="the user's"),
        pytest.param({"enabled": True}, "demo-ssh-keys", id="the one that is made"),
    ],
)
def test_all_pods_mount_the_key_readable_for_their_group(given: dict[str, Any], secret: str) -> None:
    whole = spec(**DISTRIBUTED | {"distributed": DISTRIBUTED["distributed"] | {"mpi": given}})
    first = call(whole)
    done = [job(first, "Complete")] if "Job" in first.kinds() else []
    answer = call(whole, children=done)
    for template in ("leaderTemplate", "workerTemplate"):
        found = pod(answer, template)
        [volume] = [it for it in found["volumes"] if "secret" in it]
        assert volume["secret"] == {
            "secretName": secret,
            "defaultMode": 0o440,
            "items": [{"key": "ssh-privatekey", "path": "ssh-privatekey"}],
        }
        [mount] = [it for it in found["containers"][0]["volumeMounts"] if it["name"] == volume["name"]]
        assert (mount["mountPath"], mount["readOnly"]) == ("/etc/inference/ssh", True)


def test_a_users_own_secret_needs_no_job() -> None:
    whole = spec(**DISTRIBUTED | {"distributed": DISTRIBUTED["distributed"] | {"mpi": {"sshKeySecret": "mine"}}})
    assert "Job" not in call(whole).kinds()


def test_groups_without_mpirun_have_no_keys() -> None:
    answer = call(spec(**DISTRIBUTED))
    assert "Job" not in answer.kinds()
    assert not any("secret" in it for it in pod(answer)["volumes"])


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_the_jobs_environment_makes_a_secret_that_goes_with_the_service(tmp_path: Path) -> None:
    env = {
        it["name"]: it["value"] for it in call(GIVEN).child("Job")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    secret: dict[str, Any] = build_secret(env["INFERENCE_SECRET_NAME"], env, make_key())
    assert secret["type"] == "kubernetes.io/ssh-auth"
    assert secret["metadata"]["name"] == "demo-ssh-keys"
    [owner] = secret["metadata"]["ownerReferences"]
    assert (owner["apiVersion"], owner["kind"], owner["name"]) == ("inference.ai/v1alpha1", "InferenceService", "demo")
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(base64.b64decode(secret["data"]["ssh-privatekey"]))
    public = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert public.startswith("ssh-ed25519 ")
    assert json.loads(env["INFERENCE_SECRET_LABELS"]) == secret["metadata"]["labels"]
