"""health-check in a running container: each check, what machines read, and what it leaves for the operator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.agent.failure import Failure, find_failure
from tests.images.conftest import GroupOf
from tests.images.groups import Group
from tests.images.pods import wait_for
from tests.images.workloads import built
from tests.inferenceservice.service import observed
from tests.inferenceservice.test_pools import allocation, asked, granted, request_of

pytestmark = pytest.mark.groups
CHECKS = ("gpu_available", "memory_usage", "api_responsive", "model_loaded")


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
    assert "no check gpus; there are gpu_available, memory_usage, api_responsive, model_loaded" in done.stderr


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


def test_the_failing_checks_name_reaches_the_healthy_condition(group_of: GroupOf) -> None:
    """From the container by the kubelet to the agent, which writes it on the GPURequest, to the service."""
    group = started(group_of(built(1), model=False, INFERENCE_START_SECONDS="30"))
    group.leader.execute("health-check", "--probe=startup")
    group.leader.signal(15)
    code = group.leader.wait(30)
    ended = {"exitCode": code, "reason": "Error", "message": group.leader.written_message()}
    pod = {
        "spec": {"containers": [{"name": "leader"}]},
        "status": {"containerStatuses": [{"name": "leader", "ready": False, "lastState": {"terminated": ended}}]},
    }
    failure = find_failure(pod)
    assert failure is not None
    assert failure.message.startswith("Container leader ended with exit code 143: api_responsive: port 8000 does not")
    assert failure.message in healthy_condition(failure)


def healthy_condition(failure: Failure) -> str:
    first = granted()
    told = {"pod": "demo-leader-1", "reason": failure.reason, "message": failure.message, "error": failure.error}
    rest = [it for it in observed(first, ready=0) if it["kind"] != "GPURequest"]
    answer = asked(children=[*rest, request_of(first, failures=[told])], related=[allocation(first)])
    assert answer.condition("Healthy")["status"] == "False"
    return answer.condition("Healthy")["message"]
