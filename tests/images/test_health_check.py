"""health-check in a running container: each check, what machines read, and what it leaves for the operator."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest

from app.agent.failure import Failure, find_failure
from tests.images.conftest import GroupOf
from tests.images.groups import HELD, Group
from tests.images.pods import wait_for
from tests.images.workloads import built
from tests.inferenceservice.service import observed
from tests.inferenceservice.test_pools import allocation, asked, granted, request_of

pytestmark = pytest.mark.groups
CHECKS = ("gpu_available", "memory_usage", "api_responsive", "model_loaded", "engine_progress")


@pytest.fixture
def serving(group_of: GroupOf) -> Group:
    group = group_of(built(1)).start()
    group.wait_healthy()
    return group


@pytest.fixture
def waiting(group_of: GroupOf) -> Group:
    """A leader whose model does not come."""
    return started(group_of(built(1), model=False))


def started(group: Group) -> Group:
    group.start()
    wait_for("it waits for its model", lambda: "waiting" in group.leader.logged(), 30)
    return group


def checked(group: Group, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = group.leader.execute("health-check", "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_is_callable_by_itself(serving: Group, check: str) -> None:
    code, said = checked(serving, check)
    assert (code, said) == (0, {"healthy": True, "checks": {check: {"healthy": True, "message": ""}}})


def test_all_checks_run_when_none_is_named(serving: Group) -> None:
    code, said = checked(serving)
    assert code == 0
    assert tuple(said["checks"]) == CHECKS


def test_people_read_a_line_a_check(waiting: Group) -> None:
    done = waiting.leader.execute("health-check", "gpu_available", "api_responsive")
    assert done.returncode == 1
    assert done.stdout == "gpu_available: ok\napi_responsive: port 8000 does not answer (Connection refused)\n"


def test_a_check_that_does_not_exist_is_a_mistake_of_the_caller(serving: Group) -> None:
    done = serving.leader.execute("health-check", "gpus")
    assert done.returncode == 2
    assert (
        "no check gpus; there are gpu_available, memory_usage, api_responsive, model_loaded, engine_progress"
        in done.stderr
    )


def test_shared_memory_that_is_nearly_full_is_told_with_numbers(serving: Group) -> None:
    serving.leader.execute("sh", "-c", "head -c 1999M /dev/zero > /dev/shm/full")
    code, said = checked(serving, "memory_usage")
    assert code == 1
    assert said["checks"]["memory_usage"]["message"] == "/dev/shm: 97% of 2048 MiB are used"


def test_a_device_that_the_pod_may_not_open_is_told_from_one_that_is_not_there(serving: Group) -> None:
    serving.leader.groups = ()
    assert (
        "permission denied on /dev/kfd, gid 109"
        in checked(serving, "gpu_available")[1]["checks"]["gpu_available"]["message"]
    )


def test_the_probes_pass_on_a_server_that_serves(serving: Group) -> None:
    for probe in ("startupProbe", "readinessProbe"):
        command = serving.leader.container[probe]["exec"]["command"]
        assert serving.leader.execute(*command).returncode == 0
    assert serving.leader.written_message() == ""


def test_a_startup_probe_says_nothing_while_there_is_time(waiting: Group) -> None:
    assert waiting.leader.execute("health-check", "--probe=startup").returncode == 1
    assert waiting.leader.written_message() == ""


def test_a_startup_probe_leaves_the_failing_checks_name_in_its_last_tries(group_of: GroupOf) -> None:
    group = started(group_of(built(1), model=False, INFERENCE_START_SECONDS="30"))
    assert group.leader.execute("health-check", "--probe=startup").returncode == 1
    message = "api_responsive: port 8000 does not answer (Connection refused) (the startup probe failed)"
    assert group.leader.written_message() == message


def test_a_readiness_probe_leaves_the_name_once_the_failure_lasts_and_takes_it_back(serving: Group) -> None:
    leader = serving.leader
    leader.groups = ()
    assert leader.execute("health-check", "--probe=readiness").returncode == 1
    assert leader.written_message() == ""
    leader.execute("touch", "--date=31 seconds ago", "/tmp/.health-check")
    assert leader.execute("health-check", "--probe=readiness").returncode == 1
    assert leader.written_message().startswith("gpu_available: permission denied on /dev/kfd")
    leader.groups = (109,)
    assert leader.execute("health-check", "--probe=readiness").returncode == 0
    assert leader.written_message() == ""


def test_an_engine_that_hangs_is_told_and_in_the_end_stopped(group_of: GroupOf) -> None:
    """Its message stands: nothing that ends afterwards writes over it."""
    limits = {"INFERENCE_STALL_SECONDS": "2", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "2"}
    group = group_of(built(1), **HELD, **limits).start()
    group.wait_healthy()
    threading.Thread(target=ask, args=(group,), daemon=True).start()
    told = "engine_progress: 1 request runs, and no step has ended for 2 s"
    wait_for("it is told", lambda: told in probed(group), 120, group.leader)
    stopped = "engine_progress: 1 request runs, and no step has ended for 4 s"
    wait_for("it is stopped", lambda: bool(probed(group)) and message(group) == stopped, 120, group.leader)
    group.answer_requests()
    assert group.leader.wait(60) == 0, "it ends when its last request has, for it was told to stop"
    assert message(group) == stopped
    failure = find_failure(ended_pod(0, message(group)))
    assert failure is not None
    assert failure.error == "Transient"
    assert f"{stopped}; a GPU or a process of the group hangs" in failure.message


def test_a_connection_that_asks_nothing_costs_a_token_and_is_no_hang(group_of: GroupOf) -> None:
    group = group_of(built(1), INFERENCE_STALL_SECONDS="2").start()
    group.wait_healthy()
    silent = "import socket,sys,time\nwith socket.create_connection((sys.argv[1],8000)): time.sleep(600)"
    argv = ["ip", "netns", "exec", group.network.hub, sys.executable, "-c", silent, group.leader.ip]
    client = subprocess.Popen(argv)
    ok = "engine_progress: ok"
    try:
        wait_for("it is asked", lambda: ok in probed(group) and answered(group) > 0, 120, group.leader)
        assert all(ok in probed(group) for _ in range(12))
    finally:
        client.kill()
        client.wait()


def test_a_request_that_nobody_answers_is_told_though_vllm_says_that_it_rests(group_of: GroupOf) -> None:
    """As an engine does that hangs in its first step after a rest."""
    group = group_of(built(1), **HELD, STANDIN_SAYS_RUNNING="", INFERENCE_STALL_SECONDS="3")
    group.start()
    group.wait_healthy()
    threading.Thread(target=ask, args=(group,), daemon=True).start()
    told = "engine_progress: requests are not answered, and no step has ended for 3 s"
    wait_for("it is told", lambda: told in probed(group), 120, group.leader)
    group.answer_requests()
    wait_for("it is well again", lambda: "engine_progress: ok" in probed(group), 120, group.leader)


def test_a_look_that_cannot_be_kept_is_no_failure(serving: Group) -> None:
    serving.leader.execute("mkdir", "-p", "/tmp/.engine-progress/full")
    code, said = checked(serving, "engine_progress")
    assert (code, said["checks"]["engine_progress"]["healthy"]) == (0, True)
    assert "/tmp/.engine-progress cannot be written" in said["checks"]["engine_progress"]["message"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"STANDIN_SAYS_NOTHING": "1"}, "/metrics says nothing of vLLM's engines", id="no statistics"),
        pytest.param({"VLLM_SERVER_DEV_MODE": "1"}, "VLLM_SERVER_DEV_MODE lets clients pause the engine", id="paused"),
    ],
)
def test_where_nothing_is_known_of_the_engine_the_check_passes_and_says_so(
    group_of: GroupOf, changes: dict[str, str], why: str
) -> None:
    group = group_of(built(1), **changes).start()
    group.wait_healthy()
    code, said = checked(group, "engine_progress")
    assert (code, said["healthy"]) == (0, True)
    assert said["checks"]["engine_progress"] == {"healthy": True, "message": f"unknown: {why}"}


def ask(group: Group) -> None:
    with suppress(AssertionError):
        group.complete("x")


def probed(group: Group) -> str:
    """What the kubelet would put into its event; "" when the container has ended."""
    try:
        return group.leader.execute("health-check", "--probe=readiness").stdout
    except StopIteration:
        return ""


def message(group: Group) -> str:
    return group.leader.written_message()


def answered(group: Group) -> float:
    text = group.network.ask(group.leader, "/metrics")[1]
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith("vllm:request_success_total{")))


def test_the_failing_checks_name_reaches_the_healthy_condition(group_of: GroupOf) -> None:
    """From the container by the kubelet to the agent, which writes it on the GPURequest, to the service."""
    group = started(group_of(built(1), model=False, INFERENCE_START_SECONDS="30"))
    group.leader.execute("health-check", "--probe=startup")
    group.leader.signal(15)
    code = group.leader.wait(50)
    failure = find_failure(ended_pod(code, group.leader.written_message()))
    assert failure is not None
    assert failure.message.startswith("Container leader ended with exit code 143: api_responsive: port 8000 does not")
    assert failure.message in healthy_condition(failure)


def ended_pod(code: int, message: str) -> dict[str, Any]:
    ended = {"exitCode": code, "reason": "Error", "message": message}
    return {
        "spec": {"containers": [{"name": "leader"}]},
        "status": {"containerStatuses": [{"name": "leader", "ready": False, "lastState": {"terminated": ended}}]},
    }


def healthy_condition(failure: Failure) -> str:
    first = granted()
    told = {"pod": "demo-leader-1", "reason": failure.reason, "message": failure.message, "error": failure.error}
    rest = [it for it in observed(first, ready=0) if it["kind"] != "GPURequest"]
    answer = asked(children=[*rest, request_of(first, failures=[told])], related=[allocation(first)])
    assert answer.condition("Healthy")["status"] == "False"
    return answer.condition("Healthy")["message"]
