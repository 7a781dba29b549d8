"""Real vLLM on the CPU in the same groups: what the stand-in cannot prove, and what it must be like."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.contracts.crash import CauseKind, find_cause
from app.fit.hf_config.config import parse_config
from app.fit.model import ModelFacts, to_json
from app.kube.manifest import Manifest
from tests.images.conftest import GroupOf
from tests.images.environments import VLLM, UnavailableError
from tests.images.groups import Group, Image, real_image
from tests.images.pods import Network, Pod, missing_parts, wait_for
from tests.images.workloads import built
from tools.sandbox.tinymodel import CONTEXT, configuration, write_model

pytestmark = pytest.mark.vllm
START_SECONDS = 900
END_SECONDS = 240
"""Both only end a hang: four groups on a busy machine of two processors need minutes."""
ON_CPU = {
    "INFERENCE_MODEL_SECONDS": "5",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
}
EAGER: dict[str, Any] = {"enforce_eager": True, "max_model_len": 512}
PROMPT = "The quick brown fox"


@pytest.fixture(scope="session")
def venv() -> Path:
    if missing := missing_parts():
        pytest.skip(missing)
    try:
        return VLLM.ensure()
    except UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def real(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return real_image(tmp_path_factory.mktemp("real"), venv)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Always the same, for the seed is."""
    folder = write_model(tmp_path_factory.mktemp("tiny"))
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


@pytest.fixture
def real_group(group_of: GroupOf, real: Image, tiny: Path) -> GroupOf:
    def build(workload: Manifest, **changes: str) -> Group:
        group = group_of(workload, model=False, image=real, **ON_CPU, **changes)
        group.devices = {}
        store = group.network.folder / "store" / Path(group.model_path).relative_to("/model-store")
        shutil.copytree(tiny, store)
        return group

    return build


def served(group: Group) -> str:
    group.start()
    group.wait_healthy(START_SECONDS)
    return group.complete(PROMPT)


@pytest.fixture(scope="session")
def alone(real: Image, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One node, asked once for everything that groups are compared with."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(tiny, folder / "store/weights-1")
    with Network.create(folder) as network:
        mounts = {"/model-store": (str(folder / "store"), True)}
        group = Group(network, built(1, **EAGER), real, mounts=mounts, changes=ON_CPU)
        text = served(group)
        answers = {path: network.ask(group.leader, path) for path in ("/health", "/v1/models", "/metrics", "/nothing")}
        wrong = network.ask(group.leader, "/v1/completions", {"model": "other", "prompt": "x"})
        probe = group.leader.execute("health-check", "--json")
        group.leader.signal(signal.SIGTERM)
        code = group.leader.wait(END_SECONDS)
    return {"text": text, "answers": answers, "wrong": wrong, "probe": json.loads(probe.stdout), "code": code}


def test_one_node_answers_is_healthy_by_every_check_and_stops_with_zero(alone: dict[str, Any]) -> None:
    assert alone["text"]
    assert alone["probe"]["healthy"], alone["probe"]
    assert alone["code"] == 0


@pytest.mark.parametrize("mode", ["native", "mpi"], indirect=True)
def test_two_nodes_with_tensor_parallel_answer_what_one_node_answers(
    real_group: GroupOf, alone: dict[str, Any], mode: str
) -> None:
    group = real_group(built(2, mode, tensor_parallel_size=2, **EAGER))
    assert served(group) == alone["text"]
    assert group.leader.execute("health-check", "--probe=readiness").returncode == 0
    group.leader.signal(signal.SIGTERM)
    assert group.leader.wait(END_SECONDS) == 0
    if mode == "native":
        assert group.workers[0].running, (
            "a headless vLLM does not see that its leader ended, so it needs its own signal"
        )
        assert group.workers[0].execute("drain-worker", "1000").returncode == 0
        group.workers[0].signal(signal.SIGTERM)
    assert group.workers[0].wait(END_SECONDS) is not None


def test_two_nodes_with_data_parallel_answer_what_one_node_answers(real_group: GroupOf, alone: dict[str, Any]) -> None:
    assert served(real_group(built(2, data_parallel_size=2, **EAGER))) == alone["text"]


@pytest.mark.parametrize("mode", ["native", "mpi"], indirect=True)
def test_a_copy_on_a_worker_does_not_drain_before_its_leader_ends(real_group: GroupOf, mode: str) -> None:
    """Nobody listens on the master port, for copies of a dense model are independent; the leader goes on to send
    requests to both."""
    group = real_group(built(2, mode, data_parallel_size=2, **EAGER))
    served(group)
    [worker] = group.workers
    hook = worker.container["lifecycle"]["preStop"]["exec"]["command"]
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(worker.execute, *hook)
        assert all(group.complete(PROMPT) for _ in range(4))
        assert not stopping.done()
        group.leader.signal(signal.SIGTERM)
        assert stopping.result().returncode == 0
    assert group.leader.wait(END_SECONDS) == 0
    if mode == "native":
        worker.signal(signal.SIGTERM)
    assert worker.wait(END_SECONDS) is not None


def test_two_nodes_with_pipeline_parallel_become_healthy(real_group: GroupOf) -> None:
    """vLLM's CPU backend fails at the first request here, so health is all that can be asked."""
    group = real_group(built(2, pipeline_parallel_size=2, **EAGER)).start()
    group.wait_healthy(START_SECONDS)


def test_a_killed_worker_ends_the_group_within_two_minutes(real_group: GroupOf) -> None:
    """With status 0: vLLM takes the death of its engine for an orderly end, so the log has to tell."""
    group = real_group(built(2, tensor_parallel_size=2, **EAGER))
    served(group)
    group.workers[0].kill()
    with pytest.raises(AssertionError):
        group.complete(PROMPT)
    assert group.leader.wait(120) == 0
    assert "EngineDeadError" in group.leader.logged()


def test_a_worker_that_hangs_makes_the_group_unready_until_it_goes_on(real_group: GroupOf) -> None:
    group = real_group(built(2, tensor_parallel_size=2, **EAGER), INFERENCE_STALL_SECONDS="6")
    served(group)
    [worker] = group.workers
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(complete_long, group)
        wait_for("it makes tokens", lambda: runs(group), END_SECONDS, *group.pods)
        assert "engine_progress: ok" in readiness(group)
        signal_all(worker, signal.SIGSTOP)
        try:
            told = "engine_progress: 1 request runs, and no step has ended for 6 s"
            wait_for("it is told", lambda: told in readiness(group), END_SECONDS, *group.pods)
            assert group.healthy
        finally:
            signal_all(worker, signal.SIGCONT)
        assert asking.result()
    wait_for("it is well again", lambda: "engine_progress: ok" in readiness(group), END_SECONDS, *group.pods)
    assert group.complete(PROMPT)


def test_a_worker_that_hangs_while_the_group_rests_is_told_at_the_next_request_and_ends_the_group(
    real_group: GroupOf,
) -> None:
    """vLLM's own limit of a step ends the leader; LeaderWorkerSet then makes the group anew."""
    group = real_group(built(2, tensor_parallel_size=2, **EAGER), VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS="40")
    served(group)
    signal_all(group.workers[0], signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(complete_long, group)
        told = "engine_progress: requests are not answered, and no step has ended for 20 s"
        wait_for("it is told", lambda: told in readiness(group), END_SECONDS, *group.pods)
        assert not runs(group), "vLLM itself says that it rests"
        assert group.leader.wait(120) == 0
        with pytest.raises(AssertionError):
            asking.result()
    cause = find_cause(group.leader.written_message())
    assert cause.text.startswith("TimeoutError: RPC call to ")
    assert (cause.kind, cause.advice[:25]) == (CauseKind.TRANSIENT, "a GPU or a process of the")


@pytest.mark.parametrize("mode", ["native", "mpi"], indirect=True)
def test_a_copy_of_the_model_that_hangs_on_a_worker_is_told_and_the_group_ends(real_group: GroupOf, mode: str) -> None:
    """vLLM would wait for it for ever: the engine itself stands still, so nothing has a limit."""
    group = real_group(built(2, mode, data_parallel_size=2, **EAGER), VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS="12")
    served(group)
    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(complete_until_refused, group) for _ in range(4)]
        wait_for("its requests hang", lambda: hang_with_requests(group), END_SECONDS, *group.pods)
        wait_for("it is told", lambda: "engine_progress: engine 1: " in readiness(group), END_SECONDS, *group.pods)
        wait_for("it is stopped", lambda: not readiness(group), END_SECONDS, *group.pods[:1])
        group.workers[0].kill()
        for each in asking:
            each.exception()
    assert group.leader.wait(END_SECONDS) is not None
    assert find_cause(group.leader.written_message()).text.endswith("and no step has ended for 24 s")


def complete_until_refused(group: Group) -> None:
    while True:
        complete_long(group)


def hang_with_requests(group: Group) -> bool:
    """Stop the worker while its engine says that requests run; it goes on where they have ended before."""
    if not runs(group, engine=1):
        return False
    [worker] = group.workers
    signal_all(worker, signal.SIGSTOP)
    time.sleep(4)  # what it sent before arrives
    if not runs(group, engine=1):
        signal_all(worker, signal.SIGCONT)
        return False
    return True


def complete_long(group: Group) -> str:
    return group.complete(PROMPT, max_tokens=480, ignore_eos=True)


def readiness(group: Group) -> str:
    """What the probe says, "" when the container has ended."""
    with contextlib.suppress(StopIteration):
        return group.leader.execute(*group.leader.container["readinessProbe"]["exec"]["command"]).stdout
    return ""


def runs(group: Group, engine: int = 0) -> bool:
    text = group.network.ask(group.leader, "/metrics")[1]
    return bool(re.search(rf'^vllm:num_requests_running{{engine="{engine}",.*}} [1-9]', text, re.M))


def signal_all(pod: Pod, number: int) -> None:
    for pid in pod.processes(""):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


BEYOND: dict[str, Any] = {"enforce_eager": True, "max_model_len": 2 * CONTEXT}


def test_a_length_beyond_the_models_own_is_served_with_its_own(real_group: GroupOf) -> None:
    facts = parse_config(configuration())
    assert isinstance(facts, ModelFacts)
    group = real_group(built(1, facts=to_json(facts), **BEYOND))
    assert served(group)
    [model] = json.loads(group.network.ask(group.leader, "/v1/models")[1])["data"]
    assert model["max_model_len"] == CONTEXT


def test_vllm_does_not_start_with_such_a_length(real_group: GroupOf) -> None:
    """Where nothing is known of the model it is handed on as it is, and vLLM says which lengths are at odds."""
    group = real_group(built(1, **BEYOND)).start()
    assert group.leader.wait(START_SECONDS) != 0
    assert "max_model_len" in group.leader.logged()


def test_the_stand_in_is_like_the_real_one(group_of: GroupOf, alone: dict[str, Any]) -> None:
    group = group_of(built(1, **EAGER)).start()
    group.wait_healthy()
    for path, (status, text) in alone["answers"].items():
        mine = group.network.ask(group.leader, path)
        assert mine[0] == status, path
        if path == "/v1/models":
            assert [it["id"] for it in json.loads(mine[1])["data"]] == [it["id"] for it in json.loads(text)["data"]]
        if path == "/metrics":
            real = set(re.findall(r"^(vllm:\w+)\{([^}]*)\}", text, re.M))
            shapes = {name: re.findall(r'(\w+)="', labels) for name, labels in real}
            for name, labels in re.findall(r"^(vllm:\w+)\{([^}]*)\}", mine[1], re.M):
                assert sorted(re.findall(r'(\w+)="', labels)) == sorted(shapes[name]), name
    wrong = group.network.ask(group.leader, "/v1/completions", {"model": "other", "prompt": "x"})
    assert wrong[0] == alone["wrong"][0] == 404
    assert json.loads(wrong[1])["error"]["message"] == json.loads(alone["wrong"][1])["error"]["message"]
    group.leader.signal(signal.SIGTERM)
    assert group.leader.wait(END_SECONDS) == alone["code"]
