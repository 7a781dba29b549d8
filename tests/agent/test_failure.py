"""Each cause that keeps a pod from being ready has one reason, one error class and one sentence that stays."""

from __future__ import annotations

from typing import Any

import pytest

from app.agent.failure import MESSAGE_LIMIT, Failure, find_failure, normalised, telling_line
from tests.agent.build import Json, container, single


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    return state({"waiting": {"reason": reason, "message": message}}, **more)


def state(now: Json, *, ended: Json | None = None, name: str = "leader", **more: Any) -> Json:
    last = {"lastState": {"terminated": ended}} if ended else {}
    return {"name": name, "image": "registry/leader:v1", "ready": False, "started": False, "state": now, **last, **more}


def end(code: int, reason: str = "Error", message: str = "") -> Json:
    return {"exitCode": code, "reason": reason, "message": message}


def failure_of(*containers: Json, init: Json | None = None) -> Failure | None:
    status: Json = {"containerStatuses": list(containers)}
    spec: Json = {}
    if init:
        status["initContainerStatuses"] = [init]
        spec["initContainers"] = [container(name="wait")]
    return find_failure(single("p", node="n1", status=status, **spec))


def scheduled(reason: str, message: str) -> Json:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return single("p", status={"conditions": [condition]})


def told(failure: Failure | None) -> tuple[str, str, str]:
    assert failure is not None
    return failure.reason, failure.error, failure.message


def test_the_schedulers_words_without_its_remarks_on_preemption() -> None:
    message = (
        "0/4 nodes are available: 4 Insufficient amd.com/gpu. preemption: 0/4 nodes are available: "
        "4 No preemption victims found for incoming pod."
    )
    assert told(find_failure(scheduled("Unschedulable", message))) == (
        "Unschedulable",
        "Resource",
        "The scheduler finds no node: 0/4 nodes are available: 4 Insufficient amd.com/gpu.",
    )


def test_a_gated_pod_has_not_failed() -> None:
    assert find_failure(scheduled("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")) is None


PULL = 'failed to resolve reference "registry/leader:v1": registry/leader:v1: not found'
TIMEOUT = 'failed to do request: Head "https://registry/v2/": dial tcp 10.0.0.1:443: i/o timeout'


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(waiting("ErrImagePull", PULL), "Configuration", id="a name that is not there needs an edit"),
        pytest.param(waiting("ErrImagePull", "pull access denied"), "Configuration", id="so does a missing permission"),
        pytest.param(waiting("InvalidImageName", "invalid reference"), "Configuration", id="so does a bad name"),
        pytest.param(waiting("ErrImagePull", TIMEOUT), "External", id="a registry out of reach does not"),
    ],
)
def test_an_image_that_cannot_be_fetched(status: Json, error: str) -> None:
    failure = failure_of(status)
    assert failure is not None
    assert (failure.reason, failure.error) == ("ImagePull", error)
    assert failure.message.startswith("Container leader cannot get its image registry/leader:v1: ")


def test_the_two_reasons_of_a_failed_pull_make_one_sentence() -> None:
    backing_off = waiting("ImagePullBackOff", f'Back-off pulling image "registry/leader:v1": ErrImagePull: {PULL}')
    assert failure_of(backing_off) == failure_of(waiting("ErrImagePull", PULL))


def test_a_back_off_without_its_cause_is_vague() -> None:
    failure = failure_of(waiting("ImagePullBackOff", 'Back-off pulling image "registry/leader:v1"'))
    assert failure is not None
    assert failure.vague


def test_a_missing_secret_is_a_mistake_in_the_configuration() -> None:
    assert told(failure_of(waiting("CreateContainerConfigError", 'secret "token" not found'))) == (
        "ConfigError",
        "Configuration",
        'Container leader names something that is not there: secret "token" not found.',
    )


def test_a_container_that_the_runtime_refuses() -> None:
    assert told(failure_of(waiting("CreateContainerError", "no command specified")))[:2] == (
        "ContainerError",
        "Transient",
    )


LOG = """INFO 10-20 12:00:01 [api_server.py:100] vLLM API server
Traceback (most recent call last):
  File "/opt/vllm/engine.py", line 12, in start
ValueError: The model's max seq len (131072) is larger than 4096
(APIServer pid=41) shutting down"""


def test_a_crash_tells_the_exit_code_and_the_exception() -> None:
    assert told(failure_of(waiting("CrashLoopBackOff", "back-off 5m0s restarting", ended=end(1, message=LOG)))) == (
        "CrashLoop",
        "Permanent",
        "Container leader ended with exit code 1: ValueError: The model's max seq len (131072) is larger than 4096.",
    )


ROOT = (
    "(EngineCore pid=272) ERROR 11-29 20:00:01 [core.py:1344] ValueError: To serve at least one request with the "
    "models's max seq len (131072), (40.00 GiB KV cache is needed, which is larger than the available KV cache memory "
    "(11.50 GiB). ...\n"
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
)


def test_the_root_cause_is_told_and_not_what_followed_from_it() -> None:
    reason, error, message = told(failure_of(waiting("CrashLoopBackOff", ended=end(1, message=ROOT))))
    assert (reason, error) == ("OutOfGPUMemory", "Resource")
    assert message.startswith("Container leader ended with exit code 1: ValueError: To serve at least one request")
    assert "Engine core initialization failed" not in message


@pytest.mark.parametrize(
    ("ended", "error"),
    [
        pytest.param(end(1, message="OSError: [Errno 28] No space left on device"), "Resource", id="a full disk"),
        pytest.param(end(2, message="vllm serve: error: unrecognized arguments: --x"), "Configuration", id="arguments"),
        pytest.param(end(1, message="RuntimeError: No HIP GPUs are available"), "External", id="a driver"),
        pytest.param(end(1, message="TimeoutError: Timed out"), "Transient", id="a time limit"),
        pytest.param(end(78, message="ray: this image has no Ray"), "Configuration", id="the images' own code 78"),
        pytest.param(end(75, message="join: 1 of 3 worker has not joined"), "Transient", id="their code 75"),
        pytest.param(end(69, message="gpu_available: no device /dev/kfd"), "External", id="their code 69"),
        pytest.param(end(135), "Resource", id="shared memory that is full"),
    ],
)
def test_a_cause_has_its_error_class(ended: Json, error: str) -> None:
    assert told(failure_of(waiting("CrashLoopBackOff", ended=ended)))[1] == error


def test_what_vllm_does_not_say_is_added() -> None:
    words = (
        "OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/x."
    )
    message = told(failure_of(waiting("CrashLoopBackOff", ended=end(1, message=words))))[2]
    assert message.endswith(
        "fetch the model with a ModelCache whose source names a Secret with a token that may read it."
    )


def test_the_sentence_stays_while_the_container_ends_waits_and_starts_again() -> None:
    ended = end(1, message=LOG)
    attempts = [
        state({"terminated": ended}),
        waiting("CrashLoopBackOff", "back-off 10s restarting failed container", ended=ended),
        state({"running": {"startedAt": "2026-01-01T00:00:00Z"}}, ended=ended),
        waiting("CrashLoopBackOff", "back-off 20s restarting failed container", ended=ended, restartCount=7),
    ]
    assert len({failure_of(attempt) for attempt in attempts}) == 1


def test_a_container_that_is_up_again_has_no_failure_even_when_it_is_not_ready() -> None:
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    assert failure_of(state(running, ended=end(1), started=True)) is None
    assert failure_of(state(running, ended=end(1), ready=True)) is None


@pytest.mark.parametrize(
    ("ended", "reason", "error"),
    [
        pytest.param(end(137, "OOMKilled"), "OutOfMemory", "Resource", id="killed at its memory limit"),
        pytest.param(
            end(1, message="torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB"),
            "OutOfGPUMemory",
            "Resource",
            id="too little GPU memory",
        ),
        pytest.param(
            end(1, message="ValueError: No available memory for the cache blocks."),
            "OutOfGPUMemory",
            "Resource",
            id="no GPU memory left for the KV cache",
        ),
        pytest.param(end(137), "CrashLoop", "Transient", id="killed from outside"),
        pytest.param(end(0, "Completed"), "CrashLoop", "Transient", id="drained from outside"),
        pytest.param(end(2), "CrashLoop", "Permanent", id="ended by itself"),
    ],
)
def test_how_a_process_ended(ended: Json, reason: str, error: str) -> None:
    assert told(failure_of(waiting("CrashLoopBackOff", ended=ended)))[:2] == (reason, error)


def test_an_init_container_speaks_first_and_may_end_well() -> None:
    failing = waiting("CrashLoopBackOff", name="wait", ended=end(3))
    assert told(failure_of(waiting("PodInitializing"), init=failing))[2] == "Container wait ended with exit code 3."
    done = {"name": "wait", "ready": True, "state": {"terminated": end(0, "Completed")}}
    assert failure_of(waiting("PodInitializing"), init=done) is None
    again = state({"running": {}}, name="wait", ended=end(0, "Completed"))
    assert failure_of(waiting("PodInitializing"), init=again) is None


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        pytest.param(
            {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            "Evicted",
            "Resource",
            id="evicted",
        ),
        pytest.param(
            {"reason": "UnexpectedAdmissionError", "message": "Allocate failed due to no healthy devices"},
            "PodFailed",
            "Transient",
            id="refused by kubelet",
        ),
    ],
)
def test_a_pod_that_kubelet_ended(status: Json, reason: str, error: str) -> None:
    failure = find_failure(single("p", node="n1", phase="Failed", status=status))
    assert told(failure)[:2] == (reason, error)
    assert status["message"].rstrip(".") in told(failure)[2]


def test_a_pod_that_starts_or_is_ready_has_no_failure() -> None:
    assert failure_of(waiting("ContainerCreating")) is None
    assert failure_of(state({"running": {}}, ready=True, started=True)) is None
    assert find_failure({}) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("(EngineCore_DP0 pid=17) ERROR 10-20 12:34:56 failed", "(EngineCore_DP0 pid=99) ERROR 10-21 01:02:03 failed"),
        ("at 2026-01-01T00:00:00.123Z in 0x7f00dead", "at 2026-01-02 09:00:00,5 in 0x7fffbeef"),
        ("back-off 10s restarting", "back-off 2m40s restarting"),
        ("request 0fc4e9b2-93c0-4b41-8d6a-6f6b0f6f6a01 failed", "request 11111111-93c0-4b41-8d6a-6f6b0f6f6a02 failed"),
        ("read tcp 10.1.2.3:41234->10.0.0.1:443: reset", "read tcp 10.1.2.3:52345->10.0.0.1:443: reset"),
        ("\x1b[31mred\x1b[0m   text\n", "red text"),
    ],
)
def test_what_varies_between_attempts_is_taken_out(first: str, second: str) -> None:
    assert normalised(first) == normalised(second)


def test_numbers_that_tell_something_stay() -> None:
    text = "0/12 nodes are available: 4 Insufficient amd.com/gpu; needed 131072, 80 GiB, exit code 1"
    assert normalised(text) == text


def test_the_last_exception_tells_most_then_the_last_line() -> None:
    assert telling_line("a\nRuntimeError: x\nKeyError: 'y'\nbye") == "KeyError: 'y'"
    assert telling_line("a\n\nb\n") == "b"
    assert telling_line("") == ""


def test_a_sentence_has_a_limit() -> None:
    failure = failure_of(waiting("CreateContainerConfigError", "x" * 5000))
    assert failure is not None
    assert len(failure.message) <= MESSAGE_LIMIT
