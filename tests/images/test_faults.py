"""What can be wrong with a group ends in time, with an exit code, and with one sentence that names the cause.

The sentence is read as the operator's agent reads it: from the termination message, else from the end of the log.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial

import pytest

from tests.images.conftest import GroupOf, make_keys
from tests.images.groups import GPUS
from tests.images.pods import MESSAGE_BYTES, Pod, wait_for
from tests.images.workloads import built

pytestmark = pytest.mark.groups
MODES = pytest.mark.parametrize("mode", ["native", "mpi"])
SOON = {"INFERENCE_JOIN_SECONDS": "3", "INFERENCE_MODEL_SECONDS": "2"}
PATIENT = SOON | {"INFERENCE_JOIN_SECONDS": "15"}
"""Where some pods have to find each other in time, on a slow machine, too."""


def end(pod: Pod, seconds: float = 50) -> tuple[int, str]:
    return pod.wait(seconds), pod.message()


@MODES
@pytest.mark.usefixtures("mpi_parts", "keys")
def test_a_missing_model(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(2, mode), model=False, **SOON).start()
    for pod in group.pods:
        assert end(pod) == (
            75,
            "model: folder /model-store/weights-1 is not there after 2 s; look at the ModelCache and its download Job",
        )


def test_a_folder_without_a_published_model(group_of: GroupOf) -> None:
    group = group_of(built(1), model=False, **SOON)
    folder = group.network.folder / "store/weights-1"
    folder.mkdir()
    (folder / "model-00001-of-00002.safetensors").touch()
    group.start()
    code, message = end(group.leader)
    assert code == 75
    assert "has neither .inference-manifest.json nor config.json" in message


def test_a_leader_that_cannot_be_resolved(group_of: GroupOf) -> None:
    group = group_of(built(2), **SOON)
    group.network.hide(group.address(0))
    [worker] = group.workers
    worker.start()
    code, message = end(worker)
    assert code == 75
    assert message.startswith("join: group-0.group-0.models does not resolve")
    assert message.endswith("within 3 s")


@pytest.mark.usefixtures("mpi_parts", "keys")
def test_a_worker_that_mpirun_cannot_resolve(group_of: GroupOf) -> None:
    group = group_of(built(2, "mpi"), **SOON)
    group.network.hide(group.address(1))
    group.start()
    code, message = end(group.leader)
    assert code == 75
    assert message.startswith("join: group-0-1.group-0.models does not resolve")


def test_a_worker_that_does_not_come_is_named(group_of: GroupOf) -> None:
    """The leader starts last: those that wait for it already join at once."""
    group = group_of(built(4), **PATIENT)
    for pod in (group.workers[0], group.workers[2]):
        pod.start()
        wait_for("it waits for its leader", partial(_waits, pod), 50, pod)
    group.leader.start()
    code, message = end(group.leader)
    assert code == 75
    assert message == "join: 1 of 3 worker has not joined (group-0-2.group-0.models) within 15 s"
    for worker in (group.workers[0], group.workers[2]):
        code, message = end(worker)
        assert code == 75
        assert message.startswith("join: the leader group-0.group-0.models")


def _waits(pod: Pod) -> bool:
    return "waiting" in pod.logged()


def test_a_worker_that_hangs_before_it_joins(group_of: GroupOf) -> None:
    """The leader starts last: until it is there the worker waits for it, and cannot join before it is stopped."""
    group = group_of(built(2), **PATIENT)
    [worker] = group.workers
    worker.start()
    wait_for("the worker's process is there", lambda: bool(worker.processes("start-worker")), 15, worker)
    stop_all(worker)
    group.leader.start()
    code, message = end(group.leader, 60)
    assert code == 75
    assert message == "join: 1 of 1 worker has not joined (group-0-1.group-0.models) within 15 s"


@MODES
@pytest.mark.usefixtures("mpi_parts", "keys")
def test_a_worker_that_hangs_while_it_serves(group_of: GroupOf, mode: str) -> None:
    group = group_of(built(2, mode)).start()
    group.wait_healthy()
    stop_all(group.workers[0])
    assert group.leader.wait(50) != 0
    assert group.leader.message() == "EngineError: node 1 hangs"


def stop_all(pod: Pod) -> None:
    """The pod's processes stop, and answer nobody; its network stays."""
    for pid in pod.processes(""):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


@pytest.mark.usefixtures("mpi_parts", "keys")
def test_a_worker_with_another_key(group_of: GroupOf) -> None:
    group = group_of(built(2, "mpi"), **PATIENT)
    other = make_keys(group.network.folder / "other")
    [worker] = group.workers
    worker.mounts = {**worker.mounts, "/etc/inference/ssh": (str(other), True)}
    group.start()
    code, message = end(group.leader)
    assert code == 78
    assert message == (
        "ssh: group-0-1.group-0.models does not have the group's key (Host key verification failed.); "
        "all pods must mount the same Secret"
    )
    code, message = end(worker)
    assert (code, message) == (75, "join: mpirun on group-0.group-0.models did not start this pod within 15 s")


@pytest.mark.usefixtures("mpi_parts")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "cannot be read (No such file or directory)", id="absent"),
        pytest.param("not a key", "is no private key without a passphrase", id="something else"),
    ],
)
def test_a_secret_without_a_key(group_of: GroupOf, content: str | None, said: str) -> None:
    group = group_of(built(2, "mpi"), **SOON)
    folder = group.network.folder / "empty"
    folder.mkdir()
    if content:
        (folder / "ssh-privatekey").write_text(content)
        (folder / "ssh-privatekey").chmod(0o444)
    for pod in group.pods:
        pod.mounts = {**pod.mounts, "/etc/inference/ssh": (str(folder), True)}
    group.start()
    for pod in group.pods:
        code, message = end(pod)
        assert code == 78
        assert message.startswith("ssh: the key /etc/inference/ssh" if content is None else "ssh: /etc/inference/ssh")
        assert said in message


@pytest.mark.parametrize(
    ("devices", "groups", "message"),
    [
        pytest.param(
            GPUS,
            (),
            "gpu_available: permission denied on /dev/kfd, gid 109: add 109 to INFERENCE_SUPPLEMENTAL_GROUPS of the "
            "operator",
            id="device files of a group that the pod does not have",
        ),
        pytest.param(
            {},
            (109,),
            "gpu_available: no device /dev/kfd: the container got no GPU from the device plugin",
            id="no device files",
        ),
        pytest.param(
            {"/dev/kfd": (109, 0o660)},
            (109,),
            "gpu_available: 0 of 1 GPUs: so many device files /dev/dri/renderD* are in the container",
            id="too few GPUs",
        ),
    ],
)
def test_gpus_that_cannot_be_used(
    group_of: GroupOf, devices: dict[str, tuple[int, int]], groups: tuple[int, ...], message: str
) -> None:
    group = group_of(built(1))
    group.leader.devices, group.leader.groups = devices, groups
    group.start()
    assert end(group.leader) == (69, message)


def test_a_variable_of_the_contract_that_makes_no_sense(group_of: GroupOf) -> None:
    group = group_of(built(1), INFERENCE_GPUS="all")
    group.start()
    assert end(group.leader) == (78, "INFERENCE_GPUS is 'all', which is no whole number")


def test_an_argument_that_vllm_does_not_take_ends_with_vllms_own_code_and_words(group_of: GroupOf) -> None:
    group = group_of(built(1, made_up=1)).start()
    code, message = end(group.leader)
    assert code == 2
    assert message == "vllm serve: error: unrecognized arguments: --made-up=1"


def test_vllms_failure_is_not_covered_by_an_earlier_message(group_of: GroupOf) -> None:
    """The file of the termination message is the pod's, and outlives a container."""
    group = group_of(built(2), STANDIN_HANG_SECONDS="1").start()
    group.wait_healthy()
    group.workers[0].kill()
    assert group.leader.wait(50) == 1
    assert group.leader.written_message() == "EngineError: node 1 is gone"


KV = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (40.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (11.50 GiB)."
)
AFTERWARDS = (
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
)
TRACEBACK = "\n".join(
    ['(APIServer pid=1)   File "/opt/vllm/x.py", line 12, in start', "(APIServer pid=1)     await x"] * 60
)
CRASH = f"(EngineCore pid=272) ERROR 11-29 20:00:01 [core.py:1344] {KV}\n{TRACEBACK}\n{AFTERWARDS}"


@pytest.mark.parametrize("mode", ["native", "mpi"], indirect=True)
@pytest.mark.parametrize("code", [1, 0])
def test_the_root_cause_of_a_crash_is_the_termination_message(group_of: GroupOf, mode: str, code: int) -> None:
    """The last 2 KiB that vLLM prints, which the kubelet would take, do not reach back to it."""
    assert len(TRACEBACK) > MESSAGE_BYTES
    nodes = 2 if mode == "mpi" else 1
    words = {"STANDIN_LAST_WORDS": CRASH, "STANDIN_EXIT_CODE": str(code), "STANDIN_HANG_SECONDS": "1"}
    group = group_of(built(nodes, mode), **words).start()
    assert group.leader.wait(60) == code or mode == "mpi"
    assert group.leader.written_message() == KV


def test_a_workers_own_cause_is_its_termination_message(group_of: GroupOf) -> None:
    words = "(Worker_TP3 pid=9) torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB\n(x pid=1) bye"
    failing = {"STANDIN_LAST_WORDS": words, "STANDIN_FAILS_ON": "1", "STANDIN_HANG_SECONDS": "1"}
    group = group_of(built(2), **failing).start()
    assert group.workers[0].wait(50) == 1
    assert group.workers[0].written_message() == "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB"


def test_a_server_that_was_told_to_stop_leaves_no_cause(group_of: GroupOf) -> None:
    group = group_of(built(1)).start()
    group.wait_healthy()
    group.leader.signal(15)
    assert group.leader.wait(50) == 0
    assert group.leader.written_message() == ""


def test_a_server_that_was_killed_ends_as_killed(group_of: GroupOf) -> None:
    group = group_of(built(1)).start()
    group.wait_healthy()
    [vllm] = group.leader.processes("vllm serve")
    os.kill(vllm, 9)
    assert group.leader.wait(50) == 137


def test_orphans_of_vllm_do_not_stay_as_zombies(group_of: GroupOf) -> None:
    group = group_of(built(1)).start()
    group.wait_healthy()
    [orphan] = [int(it) for it in group.leader.execute("sh", "-c", "(sleep 0.2 & echo $!)").stdout.split()]

    def is_there() -> bool:
        return group.leader.execute("cat", f"/proc/{orphan}/stat").returncode == 0

    wait_for("the orphan is gone, not a zombie", lambda: not is_there(), 50, group.leader)
