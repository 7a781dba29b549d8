"""What the kubelet's events of failing probes say of a pod."""

from __future__ import annotations

import pytest

from app.agent.failure import MESSAGE_LIMIT, find_probe_failure

HUNG = (
    "Readiness probe failed: gpu_available: ok\napi_responsive: ok\n"
    "engine_progress: 3 requests run, and no step has ended for 150 s\n"
)


@pytest.mark.parametrize("text", [HUNG, f"Unhealthy: {' '.join(HUNG.split())}"], ids=["as written", "in one line"])
def test_an_engine_that_hangs(text: str) -> None:
    failure = find_probe_failure(text)
    assert failure is not None
    assert (failure.reason, failure.error) == ("Unhealthy", "Transient")
    assert failure.message.startswith(
        "The readiness probe fails: engine_progress: 3 requests run, and no step has ended for 150 s; a GPU or a "
        "process of the group hangs: compare the logs and the GPUs (amd-smi) of all its pods"
    )
    assert len(failure.message) <= MESSAGE_LIMIT


def test_a_device_that_is_gone_is_told_before_what_follows_from_it() -> None:
    failure = find_probe_failure(
        "Readiness probe failed: gpu_available: permission denied on /dev/kfd, gid 109: add 109 to x\n"
        "api_responsive: /health did not answer within 4 s\nengine_progress: unknown: /metrics answers 503\n"
    )
    assert failure is not None
    assert failure.error == "External"
    assert failure.message == (
        "The readiness probe fails: gpu_available: permission denied on /dev/kfd, gid 109: add 109 to x."
    )


@pytest.mark.parametrize(
    "text",
    [
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "Readiness probe failed: gpu_available: ok\napi_responsive: ok\nengine_progress: unknown: no statistics\n",
        "Liveness probe failed: engine_progress: 3 requests run, and no step has ended for 150 s",
        "Readiness probe failed: ",
        "",
    ],
    ids=["another image's", "nothing fails", "another probe", "nothing said", "empty"],
)
def test_nothing_is_told_of_checks(text: str) -> None:
    assert find_probe_failure(text) is None
