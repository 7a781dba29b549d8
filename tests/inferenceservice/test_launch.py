"""How the processes of a group are started: the contract with the images."""

from __future__ import annotations

from typing import Any

import pytest

from app.vllm.table import environment_names
from tests.inferenceservice.service import DISTRIBUTED, call, container, environment, spec
from tests.kube.expansion import expand, expanded

RAY = {"vllm": {"engineArgs": {"distributed_executor_backend": "ray"}}}
MPI = {"distributed": DISTRIBUTED["distributed"] | {"mpi": {"enabled": True, "timeout": 120, "sshKeySecret": "keys"}}}


def ports(given: dict[str, Any], template: str) -> dict[str, int]:
    return {it["name"]: it["containerPort"] for it in container(call(given), template).get("ports", [])}


@pytest.mark.parametrize(
    ("given", "mode", "leader", "worker", "variables"),
    [
        pytest.param(spec(), "single", {"http": 8000}, {"http": 8000}, {}, id="one node"),
        pytest.param(
            spec(**DISTRIBUTED),
            "native",
            {"http": 8000, "master": 29501},
            {},
            {"INFERENCE_MASTER_PORT": "29501", "NCCL_SOCKET_IFNAME": "eth0", "GLOO_SOCKET_IFNAME": "eth0"},
            id="native",
        ),
        pytest.param(
            spec(**DISTRIBUTED | RAY),
            "ray",
            {"http": 8000, "master": 29501, "ray": 6379},
            {},
            {"INFERENCE_RAY_PORT": "6379"},
            id="Ray",
        ),
        pytest.param(
            spec(**DISTRIBUTED | MPI),
            "mpi",
            {"http": 8000, "master": 29501},
            {"ssh": 2222},
            {"INFERENCE_SSH_PORT": "2222", "INFERENCE_JOIN_SECONDS": "120"},
            id="MPI",
        ),
    ],
)
def test_a_launch_mode_has_its_ports_and_variables(
    given: dict[str, Any], mode: str, leader: dict[str, int], worker: dict[str, int], variables: dict[str, str]
) -> None:
    answer = call(given)
    assert ports(given, "leaderTemplate") == leader
    assert ports(given, "workerTemplate") == worker
    for template in ("leaderTemplate", "workerTemplate"):
        assert environment(answer, template).items() >= (variables | {"INFERENCE_LAUNCH_MODE": mode}).items()


@pytest.mark.parametrize("mode", [pytest.param(RAY, id="Ray"), pytest.param({}, id="native")])
def test_a_group_of_one_pod_knows_its_address_too(mode: dict[str, Any]) -> None:
    """Ray's head is told it."""
    alone = spec(distributed={"enabled": True, "size": 1}, **mode)
    [address] = [it for it in container(call(alone))["env"] if it["name"] == "VLLM_HOST_IP"]
    assert address["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        pytest.param(spec(), {"INFERENCE_MASTER_PORT", "NCCL_SOCKET_IFNAME", "VLLM_HOST_IP"}, id="one node"),
        pytest.param(spec(**DISTRIBUTED), {"INFERENCE_RAY_PORT", "INFERENCE_SSH_PORT"}, id="native"),
        pytest.param(spec(**DISTRIBUTED | MPI), {"INFERENCE_RAY_PORT"}, id="MPI"),
        pytest.param(spec(**DISTRIBUTED | RAY), {"INFERENCE_SSH_PORT", "INFERENCE_JOIN_PORT"}, id="Ray"),
    ],
)
def test_a_launch_mode_has_no_variable_of_another(given: dict[str, Any], absent: set[str]) -> None:
    assert not absent & {it["name"] for it in container(call(given))["env"]}


@pytest.mark.parametrize("key", ["tensor-parallel-size", "max_model_len", "max-num-batched-tokens", "seed"])
@pytest.mark.parametrize("number", ["9" * 310, "9" * 5000], ids=["beyond a float", "beyond Python"])
def test_a_number_of_very_many_digits_is_a_mistake_that_is_told(key: str, number: str) -> None:
    message = call(spec(vllm={"engineArgs": {key: number}})).condition("Ready")["message"]
    assert f"vllm.engineArgs.{key}: takes a whole number of at most 15 digits" in message


def test_copies_that_lie_unevenly_are_for_ray_alone() -> None:
    """vLLM itself gives every node the same number of copies; Ray finds each its GPUs."""
    uneven = {"resources": {"totalGpus": 6}, "distributed": {"enabled": True, "size": 3}}
    refused = call(spec(**uneven, vllm={"engineArgs": {"data_parallel_size": 2}})).condition("Ready")
    assert refused["reason"] == "ConfigurationError"
    assert "copies of 3 GPUs, which cannot be laid evenly on nodes of 2" in refused["message"]
    by_ray = {"data_parallel_size": 2, "distributed_executor_backend": "ray"}
    assert "--data-parallel-size=2" in container(call(spec(**uneven, vllm={"engineArgs": by_ray})))["args"]


@pytest.mark.parametrize("spelling", ["distributed_executor_backend", "distributed-executor-backend"])
def test_ray_is_the_launch_mode_in_any_spelling_of_the_argument(spelling: str) -> None:
    given = spec(**DISTRIBUTED, vllm={"engineArgs": {spelling: "ray"}})
    assert environment(call(given))["INFERENCE_LAUNCH_MODE"] == "ray"
    assert "--distributed-executor-backend=ray" in container(call(given))["args"]


@pytest.mark.parametrize("spelling", ["distributed_executor_backend", "--distributed-executor-backend"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(DISTRIBUTED | MPI, "both say how the group is launched", id="Ray and MPI"),
        pytest.param({}, "ray is for several nodes", id="Ray on one node"),
    ],
)
def test_launchers_that_contradict_each_other_are_refused(given: dict[str, Any], words: str, spelling: str) -> None:
    answer = call(spec(**given, vllm={"engineArgs": {spelling: "ray"}}))
    assert words in answer.condition("Ready")["message"]
    assert answer.children == []


def test_leader_and_worker_get_the_same_arguments_and_their_own_command_and_image() -> None:
    answer = call(spec(**DISTRIBUTED))
    leader, worker = container(answer, "leaderTemplate"), container(answer, "workerTemplate")
    assert leader["args"] == worker["args"]
    assert (leader["command"], worker["command"]) == (["start-leader"], ["start-worker"])
    assert (leader["image"], worker["image"]) == ("inference-leader:v0.1.0", "inference-worker:v0.1.0")


def test_pods_of_several_nodes_announce_their_own_address() -> None:
    [own] = [it for it in container(call(spec(**DISTRIBUTED)))["env"] if it["name"] == "VLLM_HOST_IP"]
    assert own["valueFrom"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}


@pytest.mark.parametrize("given", [spec(), spec(**DISTRIBUTED), spec(**DISTRIBUTED | RAY), spec(**DISTRIBUTED | MPI)])
def test_every_variable_with_vllms_prefix_is_one_that_vllm_knows(given: dict[str, Any]) -> None:
    names = {it["name"] for template in ("leaderTemplate", "workerTemplate") for it in _env(given, template)}
    assert {name for name in names if name.startswith("VLLM_")} <= environment_names().keys()


@pytest.mark.parametrize("given", [spec(), spec(**DISTRIBUTED)])
def test_what_the_device_plugin_decides_is_left_to_it(given: dict[str, Any]) -> None:
    names = {it["name"] for it in _env(given, "leaderTemplate")}
    assert not [name for name in names if name.endswith("_VISIBLE_DEVICES") or name == "ROCM_VERSION"]


def test_a_users_variable_wins_over_a_default_and_stands_once() -> None:
    given = spec(**DISTRIBUTED, vllm={"envVars": {"NCCL_SOCKET_IFNAME": "rdma0", "NCCL_DEBUG": "INFO"}})
    env = _env(given, "workerTemplate")
    names = [it["name"] for it in env]
    assert len(names) == len(set(names))
    assert {"name": "NCCL_SOCKET_IFNAME", "value": "rdma0"} in env
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in env


def test_the_gpus_a_pod_must_see_are_those_it_asks_for() -> None:
    answer = call(spec(**DISTRIBUTED))
    assert environment(answer)["INFERENCE_GPUS"] == container(answer)["resources"]["limits"]["amd.com/gpu"] == "2"


def _env(given: dict[str, Any], template: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = container(call(given), template)["env"]
    return found


@pytest.mark.parametrize("kind", [pytest.param({}, id="Deployment"), pytest.param(DISTRIBUTED, id="LeaderWorkerSet")])
def test_dollar_signs_reach_the_container_as_they_were_written(kind: dict[str, Any]) -> None:
    """The kubelet expands args and values of env."""
    template, value = "as $$\\boxed{x}$$ {{ messages }} $(HOME)", "a$$b $(HF_HOME)"
    engine = {"engineArgs": {"chat_template": template}, "envVars": {"X": value}}
    answer = call(spec(**kind, vllm=engine))
    for place in ("leaderTemplate", "workerTemplate") if kind else ("leaderTemplate",):
        variables = expanded(environment(answer, place))
        assert variables["X"] == value
        assert f"--chat-template={template}" in [expand(it, variables) for it in container(answer, place)["args"]]
