"""Pod templates: security, volumes, resources, probes, and where the operator's settings show."""

from __future__ import annotations

from typing import Any

import pytest

from app.kube.names import label_value
from app.settings import Settings, Toleration
from tests.calls import Answer
from tests.inferenceservice.service import DISTRIBUTED, cache, call, container, environment, pod, spec
from tests.security import violations

NAMED = {"storage": {"modelCache": "weights"}}
SINGLE, GROUP = call(spec(**NAMED), related=[cache()]), call(spec(**DISTRIBUTED | NAMED), related=[cache()])
MPI = {"distributed": DISTRIBUTED["distributed"] | {"mpi": {"enabled": True, "sshKeySecret": "keys"}}}
BY_MPIRUN = call(spec(**DISTRIBUTED | NAMED | MPI), related=[cache()])

every_pod = pytest.mark.parametrize(
    ("answer", "template"),
    [
        pytest.param(SINGLE, "leaderTemplate", id="single"),
        pytest.param(GROUP, "leaderTemplate", id="leader"),
        pytest.param(GROUP, "workerTemplate", id="worker"),
        pytest.param(BY_MPIRUN, "leaderTemplate", id="leader, mpirun"),
        pytest.param(BY_MPIRUN, "workerTemplate", id="worker, mpirun"),
    ],
)
every_server = pytest.mark.parametrize("answer", [pytest.param(SINGLE, id="single"), pytest.param(GROUP, id="leader")])


def volume(answer: Answer, name: str, template: str = "leaderTemplate") -> dict[str, Any]:
    [found] = [it for it in pod(answer, template)["volumes"] if it["name"] == name]
    return dict(found)


def mounts(answer: Answer, template: str = "leaderTemplate") -> dict[str, Any]:
    return {it["mountPath"]: it for it in container(answer, template)["volumeMounts"]}


@every_pod
def test_pods_meet_the_restricted_pod_security_standard(answer: Answer, template: str) -> None:
    assert violations(pod(answer, template)) == []


@every_pod
def test_pods_hold_no_token_and_no_links_to_services(answer: Answer, template: str) -> None:
    """A Service named vllm would set VLLM_PORT in every pod, which vLLM refuses."""
    assert pod(answer, template)["enableServiceLinks"] is False
    assert pod(answer, template)["automountServiceAccountToken"] is False


@every_pod
def test_the_root_file_system_is_read_only_and_every_cache_is_on_a_volume(answer: Answer, template: str) -> None:
    assert container(answer, template)["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [path for path, mount in mounts(answer, template).items() if not mount.get("readOnly")]
    env = {it["name"]: it.get("value", "") for it in container(answer, template)["env"]}
    folders = [env[name] for name in ("HOME", "HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "AITER_JIT_DIR")]
    assert all(any(folder.startswith(path) for path in writable) for folder in (*folders, "/tmp", "/dev/shm"))


@every_pod
def test_shared_memory_is_of_the_size_asked_for(answer: Answer, template: str) -> None:
    assert volume(answer, "shared-memory", template)["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    assert "/dev/shm" in mounts(answer, template)
    larger = call(spec(storage={"sharedMemory": "65536Mi"}))
    assert volume(larger, "shared-memory")["emptyDir"]["sizeLimit"] == "64Gi"


@every_pod
def test_the_groups_that_own_the_devices_are_added(answer: Answer, template: str) -> None:
    assert pod(answer, template)["securityContext"]["supplementalGroups"] == [44, 109]


def test_other_groups_come_from_the_settings_in_a_stable_order() -> None:
    answer = call(settings=Settings(supplemental_groups=(993, 44)))
    assert pod(answer)["securityContext"]["supplementalGroups"] == [44, 993]
    assert "supplementalGroups" not in pod(call(settings=Settings(supplemental_groups=())))["securityContext"]


@pytest.mark.parametrize(("template", "given"), [("leaderTemplate", spec()), ("workerTemplate", spec(**DISTRIBUTED))])
def test_nodes_are_selected_and_tolerated_by_the_settings(template: str, given: dict[str, Any]) -> None:
    tolerations = (Toleration(key="amd.com/gpu"), Toleration(key="team", operator="Equal", value="a"))
    settings = Settings(node_selector={"pool": "b", "accelerator": "amd-gpu"}, tolerations=tolerations)
    found = pod(call(given, settings=settings), template)
    assert list(found["nodeSelector"]) == ["accelerator", "pool"]
    assert found["tolerations"] == [
        {"key": "amd.com/gpu", "operator": "Exists"},
        {"key": "team", "operator": "Equal", "value": "a"},
    ]


def test_without_selector_and_tolerations_the_pod_has_none() -> None:
    found = pod(call(settings=Settings(node_selector={}, tolerations=())))
    assert not found.keys() & {"nodeSelector", "tolerations"}


@every_pod
def test_no_node_is_named_in_a_template(answer: Answer, template: str) -> None:
    """Neither a name nor a host name; affinity is by labels of nodes and services only."""
    assert "nodeName" not in pod(answer, template)
    assert "kubernetes.io/hostname" not in pod(answer, template).get("nodeSelector", {})
    assert "nodeAffinity" not in pod(answer, template).get("affinity", {}), "nothing was granted here"


def test_cpu_and_memory_are_requests_and_gpus_are_both() -> None:
    """A memory limit would count /dev/shm and kill a server that fills it."""
    resources = {"totalGpus": 2, "cpuRequest": "4.0", "memoryRequest": "16384Mi"}
    assert container(call(spec(resources=resources)))["resources"] == {
        "limits": {"amd.com/gpu": "2"},
        "requests": {"amd.com/gpu": "2", "cpu": "4", "memory": "16Gi"},
    }


def test_gpus_are_asked_for_under_the_name_of_the_settings() -> None:
    answer = call(settings=Settings(gpu_resource="amd.com/cpx_nps4"))
    assert container(answer)["resources"] == {
        "limits": {"amd.com/cpx_nps4": "1"},
        "requests": {"amd.com/cpx_nps4": "1"},
    }


@every_pod
def test_the_model_is_mounted_read_only_unless_asked_otherwise(answer: Answer, template: str) -> None:
    claim = {"claimName": "weights-cache", "readOnly": True}
    assert volume(answer, "model-store", template)["persistentVolumeClaim"] == claim
    assert mounts(answer, template)["/model-store"]["readOnly"] is True


def test_a_model_that_may_be_written_is_mounted_so() -> None:
    answer = call(spec(storage={"modelCache": "weights", "readOnly": False}), related=[cache()])
    assert volume(answer, "model-store")["persistentVolumeClaim"] == {"claimName": "weights-cache"}
    assert "readOnly" not in mounts(answer)["/model-store"]


@every_server
def test_the_images_checks_decide_about_requests_and_vllms_own_answer_about_an_end(answer: Answer) -> None:
    found = container(answer)
    for probe in ("startup", "readiness"):
        assert found[f"{probe}Probe"]["exec"] == {"command": ["health-check", f"--probe={probe}"]}
    assert found["livenessProbe"]["httpGet"] == {"path": "/health", "port": "http", "scheme": "HTTP"}


@every_server
def test_servers_are_probed_with_a_long_start(answer: Answer) -> None:
    start = container(answer)["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] == 30 * 60


@pytest.mark.parametrize(("budget", "failures"), [("10s", 1), ("11s", 2), ("1h", 360), ("0s", 1)])
def test_the_start_budget_is_never_cut_short(budget: str, failures: int) -> None:
    assert container(call(settings=Settings(start_budget=budget)))["startupProbe"]["failureThreshold"] == failures


def test_workers_serve_nothing_that_could_be_probed() -> None:
    assert not container(GROUP, "workerTemplate").keys() & {"startupProbe", "readinessProbe", "livenessProbe"}


def test_workers_stay_while_their_leader_drains() -> None:
    """All pods of a group are told to stop at once."""
    found = container(call(spec(**DISTRIBUTED), settings=Settings(drain="2m")), "workerTemplate")
    assert found["lifecycle"]["preStop"] == {"exec": {"command": ["drain-worker", "125"]}}


def test_compiled_kernels_stay_on_a_claim_that_the_user_names() -> None:
    answer = call(spec(storage={"compileCacheClaim": "kernels"}))
    assert volume(answer, "compile-cache")["persistentVolumeClaim"] == {"claimName": "kernels"}
    folder = "/var/cache/inference/compile"
    assert mounts(answer)[folder]["subPath"] == "demo"
    compiled = {"AITER_JIT_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT"}
    assert {name for name, value in environment(answer).items() if value.startswith(folder)} == compiled


@every_pod
def test_a_stopping_pod_has_time_to_drain(answer: Answer, template: str) -> None:
    """Endpoints forget the pod, requests end, and vLLM exits, before it is killed."""
    [drain] = [it for it in container(answer, template)["args"] if it.startswith("--shutdown-timeout=")]
    seconds = int(drain.partition("=")[2])
    stop = container(answer)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert seconds == 60
    assert pod(answer, template)["terminationGracePeriodSeconds"] >= stop + seconds + 10


def test_the_drain_of_the_settings_moves_both_ends() -> None:
    answer = call(settings=Settings(drain="5m"))
    assert "--shutdown-timeout=300" in container(answer)["args"]
    assert pod(answer)["terminationGracePeriodSeconds"] == 320


@every_pod
def test_the_last_words_of_a_pod_are_kept(answer: Answer, template: str) -> None:
    assert container(answer, template)["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_images_and_pull_policy_are_those_of_the_settings() -> None:
    settings = Settings(leader_image="r/leader@sha256:1", worker_image="r/worker:v2", image_pull_policy="Always")
    answer = call(spec(**DISTRIBUTED), settings=settings)
    found = [container(answer, template) for template in ("leaderTemplate", "workerTemplate")]
    assert [it["image"] for it in found] == ["r/leader@sha256:1", "r/worker:v2"]
    assert [it["imagePullPolicy"] for it in found] == ["Always", "Always"]


def test_a_rollout_takes_no_more_gpus_than_there_are() -> None:
    strategy = call().child("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_a_leader_worker_set_spells_out_every_default() -> None:
    """LWS's webhook would fill them in, and every sync would write."""
    of = call(spec(**DISTRIBUTED)).child("LeaderWorkerSet")["spec"]
    assert of["rolloutStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdateConfiguration": {"maxSurge": 0, "maxUnavailable": 1, "partition": 0},
    }
    assert of["startupPolicy"] == "LeaderCreated"
    assert of["networkConfig"] == {"subdomainPolicy": "UniquePerReplica"}
    assert of["leaderWorkerTemplate"]["restartPolicy"] == "RecreateGroupAfterStart"
    assert of["leaderWorkerTemplate"]["size"] == 2


def test_the_start_of_a_rollout_outlasts_the_start_of_a_pod() -> None:
    assert call(settings=Settings(start_budget="1h")).child("Deployment")["spec"]["progressDeadlineSeconds"] > 3600


def test_a_long_model_name_is_a_valid_label_in_every_pod() -> None:
    name = "organisation/" + "x" * 100
    labels = call(spec(model={"name": name})).child("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["inference.ai/model"] == label_value(name)
    assert len(labels["inference.ai/model"]) <= 63
