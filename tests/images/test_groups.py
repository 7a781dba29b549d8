"""Groups start, answer and stop: the operator's own templates, our scripts, real sshd and mpirun, and a stand-in for
vLLM."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.images.conftest import GroupOf
from tests.images.groups import HELD, golden_workload, publish_model
from tests.images.pods import wait_for
from tests.images.workloads import built

pytestmark = pytest.mark.groups
MODES = pytest.mark.parametrize("mode", ["native", "mpi"], indirect=True)
COPIES = {"data_parallel_size": 2}
"""Independent copies: nobody listens on the master port then."""


@pytest.mark.parametrize(
    ("nodes", "mode"),
    [
        pytest.param(1, "native", id="one node"),
        pytest.param(2, "native", id="two nodes, native"),
        pytest.param(4, "native", id="four nodes, native"),
        pytest.param(2, "mpi", id="two nodes, mpirun"),
        pytest.param(4, "mpi", id="four nodes, mpirun"),
    ],
    indirect=["mode"],
)
def test_a_group_becomes_healthy_answers_and_stops_cleanly(group_of: GroupOf, nodes: int, mode: str) -> None:
    group = group_of(built(nodes, mode)).start()
    group.wait_healthy()
    answer = group.complete("Hello")
    assert len(answer) == 16
    status, models = group.network.ask(group.leader, "/v1/models")
    assert status == 200
    assert [it["id"] for it in json.loads(models)["data"]] == ["org/tiny"]
    group.leader.signal(signal.SIGTERM)
    assert group.leader.wait(50) == 0
    for worker in group.workers:
        worker.wait(50)
    assert group.leader.written_message() == ""


@pytest.mark.usefixtures("mpi_parts", "keys")
def test_the_answer_does_not_depend_on_how_many_nodes_give_it(group_of: GroupOf) -> None:
    answers = []
    for nodes, mode in ((1, "native"), (2, "native"), (2, "mpi")):
        group = group_of(built(nodes, mode)).start()
        group.wait_healthy()
        answers.append(group.complete("Hello"))
        for pod in group.pods:
            pod.kill()
    assert len(set(answers)) == 1


@pytest.mark.parametrize(
    ("case", "nodes", "mode"),
    [
        pytest.param("basic-test/03-ready", 1, "single", id="single"),
        pytest.param("distributed-test/03-ready", 4, "native", id="distributed"),
        pytest.param("llama2-7b-service/07-ready", 2, "mpi", id="mpi"),
    ],
    indirect=["mode"],
)
def test_the_specifications_samples_start_as_the_operator_answers_them(
    group_of: GroupOf, case: str, nodes: int, mode: str
) -> None:
    group = group_of(golden_workload(case))
    assert (group.size, group.leader.environment()["INFERENCE_LAUNCH_MODE"]) == (nodes, mode)
    group.start()
    group.wait_healthy()
    assert group.complete("Hello")


@MODES
def test_workers_are_not_told_how_many_processes_serve_the_api(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(2, mode, api_server_count=2)).start()
    group.wait_healthy()
    assert "--api-server-count=2" in group.leader.logged()


TEMPLATE = "Give $$\\boxed{x}$$ of $(HOME), $HOME, `id`, \"two\"  words; {{ messages }} 'one' \\ $(date) \n--port=1 é $"
"""Signs that the kubelet, a shell or mpirun could take for their own."""


@MODES
def test_text_reaches_vllm_on_every_node_as_it_was_written(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(2, mode, env={"WORDS": TEMPLATE}, chat_template=TEMPLATE)).start()
    group.wait_healthy()
    for pod in group.pods:
        [vllm] = [Path(f"/proc/{pid}") for pid in pod.processes("vllm serve")]
        assert f"--chat-template={TEMPLATE}" in (vllm / "cmdline").read_text().split("\0")
        assert f"WORDS={TEMPLATE}" in (vllm / "environ").read_text().split("\0")


def test_a_container_has_no_right_but_those_of_its_user(group_of: GroupOf) -> None:
    group = group_of(built(2)).start()
    group.wait_healthy()
    for pod in group.pods:
        status = pod.execute("cat", "/proc/1/status").stdout
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert fields["Uid"].split() == ["1001"] * 4
        assert {fields[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert fields["NoNewPrivs"] == "1"
        assert pod.execute("hostname").stdout.strip() == pod.name
        assert "Read-only" in pod.execute("touch", "/opt/inference/x").stderr


def test_each_pod_runs_one_vllm_and_hands_on_what_it_prints(group_of: GroupOf) -> None:
    group = group_of(built(2)).start()
    group.wait_healthy()
    for pod in group.pods:
        assert len(pod.processes("vllm serve")) == 1
        assert "INFO standin: nnodes=2" in pod.logged()


@MODES
def test_a_request_that_runs_at_sigterm_is_answered_before_the_end(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(2, mode), **HELD).start()
    group.wait_healthy()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(group.complete("Hello")))
    asking.start()
    wait_for("the request runs", lambda: "running{" in _metrics(group) and "} 1.0" in _metrics(group), 120)
    group.leader.signal(signal.SIGTERM)
    wait_for("it is told to stop", lambda: "told to stop" in group.leader.logged(), 50, group.leader)
    assert answers == []
    group.answer_requests()
    asking.join(120)
    assert len(answers) == 1
    assert group.leader.wait(50) == 0


def _metrics(group: object) -> str:
    return str(group.network.ask(group.leader, "/metrics")[1])  # type: ignore[attr-defined]


@MODES
@pytest.mark.parametrize("sizes", [pytest.param({}, id="one copy"), pytest.param(COPIES, id="a copy on each node")])
def test_the_stop_hook_of_a_worker_lasts_as_long_as_its_leader_drains(
    group_of: GroupOf, mode: str, sizes: dict[str, Any]
) -> None:
    group = group_of(built(2, mode, **sizes), **HELD).start()
    group.wait_healthy()
    [worker] = group.workers
    hook = worker.container["lifecycle"]["preStop"]["exec"]["command"]
    asking = threading.Thread(target=lambda: group.complete("Hello"))
    asking.start()
    wait_for("the request runs", lambda: "} 1.0" in _metrics(group), 120)
    group.leader.signal(signal.SIGTERM)
    stopping = threading.Thread(target=lambda: worker.execute(*hook[:-1], "600"))
    stopping.start()
    time.sleep(2)
    assert stopping.is_alive()
    group.answer_requests()
    asking.join(120)
    group.leader.wait(50)
    stopping.join(120)
    assert not stopping.is_alive(), "it ends with its leader, not by its own time"


@pytest.mark.parametrize("seconds", ["2"])
def test_the_stop_hook_of_a_worker_ends_by_itself_when_the_leader_goes_on(group_of: GroupOf, seconds: str) -> None:
    group = group_of(built(2)).start()
    group.wait_healthy()
    assert group.workers[0].execute("drain-worker", seconds).returncode == 0
    assert group.healthy


@MODES
def test_a_leader_that_comes_last_is_waited_for(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(4, mode))
    for worker in group.workers:
        worker.start()
    time.sleep(3)
    assert all(worker.running for worker in group.workers)
    group.leader.start()
    group.wait_healthy()
    assert group.complete("Hello")


@MODES
def test_names_that_resolve_late_are_tried_again(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(2, mode))
    for index in range(2):
        group.network.hide(group.address(index))
    group.start()
    time.sleep(2)
    assert all(pod.running for pod in group.pods)
    for index in range(2):
        group.network.publish(group.pods[index], group.address(index))
    group.wait_healthy()


@MODES
def test_a_model_that_is_published_late_is_waited_for(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(2, mode), model=False).start()
    wait_for("they wait", lambda: all("is not there" in pod.logged() for pod in group.pods), 50, *group.pods)
    assert all(pod.running for pod in group.pods)
    publish_model(group.network.folder / "store", group.model_path, ".inference-manifest.json")
    group.wait_healthy()


@MODES
def test_a_killed_worker_ends_the_group_and_a_new_start_recovers(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(4, mode)).start()
    group.wait_healthy()
    group.workers[1].kill()
    assert group.leader.wait(50) not in (0, None)
    for worker in (group.workers[0], group.workers[2]):
        worker.wait(50)
    group.start()
    group.wait_healthy()
    assert group.complete("Hello")


@pytest.mark.usefixtures("mpi_parts", "keys")
def test_workers_of_mpirun_end_when_the_launcher_is_lost(group_of: GroupOf) -> None:
    group = group_of(built(4, "mpi")).start()
    group.wait_healthy()
    group.leader.kill()
    assert [worker.wait(50) != 0 for worker in group.workers] == [True] * 3


def test_a_script_that_still_waits_ends_at_once_at_sigterm(group_of: GroupOf) -> None:
    group = group_of(built(2), model=False)
    group.leader.start()
    wait_for("it waits", lambda: "waiting" in group.leader.logged(), 30)
    group.leader.signal(signal.SIGTERM)
    assert group.leader.wait(50) == 143
