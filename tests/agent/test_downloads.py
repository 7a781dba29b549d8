"""Why downloads wait: what pods say of themselves, and what only events say."""

from __future__ import annotations

from typing import Any

import pytest

from app.agent.downloads import parse_download_pod, parse_job, plan_problems
from app.agent.events import index_events, parse_event
from app.agent.patch import Target
from app.kube.names import PROBLEM_ANNOTATION

JOB = "m-download-1"
QUOTA = 'Error creating: pods "m-download-1-x" is forbidden: exceeded quota: team, requested: requests.memory=1Gi'
MOUNT = 'MountVolume.SetUp failed for volume "pvc-1" : mount failed: exit status 32'
ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other'


def named(name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "7"}
    return {"metadata": metadata | fields.pop("metadata", {}), **fields}


def job(problem: str = "", done: bool = False) -> dict[str, Any]:
    annotations = {PROBLEM_ANNOTATION: problem} if problem else {}
    conditions = [{"type": "Complete", "status": "True"}] if done else []
    return named(JOB, metadata={"annotations": annotations}, status={"conditions": conditions})


def pod(phase: str = "Pending", said: str = "", **metadata: Any) -> dict[str, Any]:
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    return named(
        f"{JOB}-x",
        metadata={"labels": {"batch.kubernetes.io/job-name": JOB}} | metadata,
        spec={"volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "m-cache"}}]},
        status={"phase": phase, "conditions": [refused] if said else []},
    )


def event(reason: str, message: str, kind: str = "Pod", name: str = f"{JOB}-x") -> dict[str, Any]:
    return named(f"e-{reason}", reason=reason, message=message, involvedObject={"kind": kind, "name": name})


def problem_of(pods: list[Any], events: list[Any], of: dict[str, Any] | None = None) -> str | None:
    """What the annotation becomes; None where nothing is written."""
    found = parse_job(of or job())
    patches = plan_problems(
        {found.key: found},
        [waiting for item in pods if (waiting := parse_download_pod(item))],
        index_events(warned for item in events if (warned := parse_event(item))),
    )
    if not patches:
        return None
    [patch] = patches
    assert (patch.target, patch.key) == (Target.JOB, ("ns", JOB))
    assert patch.body["metadata"]["resourceVersion"] == "7"
    value = patch.body["metadata"]["annotations"][PROBLEM_ANNOTATION]
    return str(value) if value else ""


@pytest.mark.parametrize(
    ("pods", "events", "said"),
    [
        ([], [event("FailedCreate", QUOTA, "Job", JOB)], "FailedCreate: Error creating"),
        ([], [event("FailedCreate", QUOTA, "Job", JOB)], "exceeded quota: team"),
        ([pod()], [event("FailedMount", MOUNT)], "FailedMount: MountVolume.SetUp failed"),
        ([pod()], [event("FailedAttachVolume", ATTACH)], "Multi-Attach error"),
        ([pod(said="0/3 nodes are available: 3 Insufficient memory.")], [], "3 Insufficient memory"),
        (
            [pod(said="pod has unbound immediate PersistentVolumeClaims.")],
            [event("ProvisioningFailed", "storageclass fast not found", "PersistentVolumeClaim", "m-cache")],
            "PersistentVolumeClaim m-cache: ProvisioningFailed: storageclass fast not found",
        ),
    ],
    ids=["a quota", "its name", "a mount", "another node has it", "no node", "a claim that cannot be made"],
)
def test_the_cause_is_quoted(pods: list[Any], events: list[Any], said: str) -> None:
    found = problem_of(pods, events)
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("pods", "of"),
    [
        ([pod("Running")], job("FailedMount: x")),
        ([], job("FailedMount: x", done=True)),
        ([pod()], job("FailedMount: x")),
    ],
    ids=["its pod runs", "it is done", "its cause is gone"],
)
def test_what_is_no_longer_so_is_taken_back(pods: list[Any], of: dict[str, Any]) -> None:
    assert problem_of(pods, [], of) == ""


def test_an_old_event_says_nothing_of_a_pod_that_runs() -> None:
    assert problem_of([pod("Running")], [event("FailedMount", MOUNT)]) is None


def test_the_same_cause_is_written_once() -> None:
    once = problem_of([pod()], [event("FailedMount", MOUNT)])
    assert problem_of([pod()], [event("FailedMount", MOUNT)], job(str(once))) is None


def test_pods_that_ended_or_leave_are_not_waited_for() -> None:
    assert parse_download_pod(pod("Succeeded")) is None
    assert parse_download_pod(pod(deletionTimestamp="2026-01-01T00:00:00Z")) is None


def test_other_events_are_dropped() -> None:
    assert parse_event(event("BackOff", "x")) is None


def test_a_long_cause_is_cut() -> None:
    found = problem_of([pod()], [event("FailedMount", "x" * 9_000)])
    assert found is not None
    assert len(found) <= 480
