"""Every condition of a service: its status and reason in each situation, and what the message tells people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.kube.manifest import Manifest
from app.settings import Settings
from tests.calls import NOW, Answer, stored
from tests.inferenceservice.service import (
    AUTOSCALED,
    DISTRIBUTED,
    cache,
    call,
    observed,
    running,
    spec,
    workload,
)

LWS = "LeaderWorkerSet.leaderworkerset.x-k8s.io/v1"
FAILED_CACHE = cache(ready=False, phase="Failed")
NAMED = spec(storage={"modelCache": "weights"})
BROKEN = spec(vllm={"engineArgs": {"max_num_seqs": "many"}})
REFUSED = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": "pods are forbidden: exceeded quota: pods, requested: pods=1",
}
NO_GPUS = REFUSED | {
    "message": "pods are forbidden: exceeded quota: gpus, requested: requests.amd.com/gpu=8, used: "
    "requests.amd.com/gpu=0, limited: requests.amd.com/gpu=4"
}
STUCK = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": 'ReplicaSet "demo" has timed out progressing.',
}
NO_SET = STUCK | {"reason": "ReplicaSetCreateError", "message": "replicasets.apps is forbidden: exceeded quota: x"}
UNSAFE = REFUSED | {"message": 'pods are forbidden: violates PodSecurity "restricted:latest": hostPath volumes'}
PROGRESSING = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "as it goes"}


PARTITIONS = spec(resources={"totalGpus": 1, "gpu": {"resource": "amd.com/cpx_nps4"}})
NO_PARTITIONS = REFUSED | {"message": NO_GPUS["message"].replace("amd.com/gpu", "amd.com/cpx_nps4")}


def starting(*conditions: dict[str, str], given: dict[str, Any] | None = None) -> list[Manifest]:
    return observed(call(given), ready=0, conditions=conditions)


def part(replicas: int, ready: int) -> Answer:
    """So many of so many groups are ready."""
    given = spec(replicas=replicas)
    return call(given, children=observed(call(given), ready=ready))


TABLE = [
    pytest.param(
        call(),
        "Starting",
        {
            "Ready": ("False", "InProgress"),
            "ModelLoaded": ("False", "InProgress"),
            "GPUAllocated": ("Unknown", "Pending"),
            "ServiceReady": ("False", "Pending"),
            "Healthy": ("Unknown", "Pending"),
            "UpdateAvailable": ("False", "UpToDate"),
            "ChildConflict": ("Unknown", "Pending"),
        },
        id="created",
    ),
    pytest.param(
        call(children=starting(PROGRESSING)),
        "Starting",
        {
            "Ready": ("False", "InProgress"),
            "ModelLoaded": ("False", "InProgress"),
            "GPUAllocated": ("Unknown", "Pending"),
            "ServiceReady": ("False", "Pending"),
            "Healthy": ("Unknown", "Pending"),
            "UpdateAvailable": ("False", "UpToDate"),
            "ChildConflict": ("False", "OwnedByUs"),
        },
        id="starting",
    ),
    pytest.param(
        call(children=running()),
        "Ready",
        {
            "Ready": ("True", "InferenceReady"),
            "ModelLoaded": ("True", "Successful"),
            "GPUAllocated": ("True", "Successful"),
            "ServiceReady": ("True", "Successful"),
            "Healthy": ("True", "Successful"),
            "UpdateAvailable": ("False", "UpToDate"),
            "ChildConflict": ("False", "OwnedByUs"),
        },
        id="ready",
    ),
    pytest.param(
        part(3, 1),
        "Ready",
        {"Ready": ("True", "InferenceReady"), "Healthy": ("False", "InProgress")},
        id="some groups are ready",
    ),
    pytest.param(
        call(spec(replicas=0), children=observed(call(spec(replicas=0)), ready=0)),
        "Pending",
        {
            "Ready": ("False", "ScaledToZero"),
            "ModelLoaded": ("False", "ScaledToZero"),
            "GPUAllocated": ("False", "ScaledToZero"),
            "Healthy": ("Unknown", "Pending"),
        },
        id="scaled to zero",
    ),
    pytest.param(
        call(NAMED),
        "Pending",
        {
            "Ready": ("False", "ModelNotFound"),
            "ModelLoaded": ("False", "ModelNotFound"),
            "GPUAllocated": ("False", "ModelNotFound"),
        },
        id="cache missing",
    ),
    pytest.param(
        call(NAMED, related=[cache(ready=False)]),
        "Pending",
        {"Ready": ("False", "Pending"), "ModelLoaded": ("False", "Pending"), "GPUAllocated": ("False", "Pending")},
        id="cache not filled",
    ),
    pytest.param(
        call(NAMED, related=[FAILED_CACHE]),
        "Failed",
        {"Ready": ("False", "Failed"), "ModelLoaded": ("False", "Failed"), "GPUAllocated": ("False", "Failed")},
        id="cache failed",
    ),
    pytest.param(
        call(BROKEN),
        "Failed",
        {
            "Ready": ("False", "ConfigurationError"),
            "ModelLoaded": ("False", "ConfigurationError"),
            "GPUAllocated": ("False", "ConfigurationError"),
            "ServiceReady": ("False", "Pending"),
            "UpdateAvailable": ("False", "UpToDate"),
        },
        id="wrong from the start",
    ),
    pytest.param(
        call(BROKEN, children=running()),
        "Degraded",
        {
            "Ready": ("False", "ConfigurationError"),
            "ModelLoaded": ("True", "Successful"),
            "GPUAllocated": ("True", "Successful"),
            "ServiceReady": ("True", "Successful"),
            "Healthy": ("True", "Successful"),
        },
        id="wrong while serving",
    ),
    pytest.param(
        call(NAMED, children=running()),
        "Degraded",
        {"Ready": ("False", "ModelNotFound"), "ServiceReady": ("True", "Successful")},
        id="next cache missing while serving",
    ),
    pytest.param(
        call(spec(**DISTRIBUTED), unmanaged=[LWS]),
        "Failed",
        {"Ready": ("False", "MissingCapability")},
        id="no LeaderWorkerSet",
    ),
    pytest.param(
        call(spec(**AUTOSCALED), unmanaged=["HorizontalPodAutoscaler.autoscaling/v2"]),
        "Failed",
        {"Ready": ("False", "MissingCapability")},
        id="no autoscaler",
    ),
    pytest.param(
        call(spec(model={"name": "m", "source": "gs://my-models"}), unmanaged=["ModelCache.inference.ai/v1alpha1"]),
        "Failed",
        {"Ready": ("False", "MissingCapability")},
        id="no cache can be made",
    ),
    pytest.param(
        call(children=starting(REFUSED)),
        "Failed",
        {"Ready": ("False", "Failed"), "Healthy": ("False", "Failed"), "GPUAllocated": ("Unknown", "Failed")},
        id="pods refused",
    ),
    pytest.param(
        call(children=starting(NO_GPUS)),
        "Failed",
        {
            "Ready": ("False", "InsufficientGPU"),
            "Healthy": ("False", "Failed"),
            "GPUAllocated": ("False", "InsufficientGPU"),
        },
        id="GPU quota used up",
    ),
    pytest.param(
        call(PARTITIONS, children=starting(NO_PARTITIONS, given=PARTITIONS)),
        "Failed",
        {"Ready": ("False", "InsufficientGPU"), "GPUAllocated": ("False", "InsufficientGPU")},
        id="quota of the service's own resource used up",
    ),
    pytest.param(
        call(children=starting(STUCK)),
        "Failed",
        {"Ready": ("False", "Failed"), "Healthy": ("False", "Failed"), "GPUAllocated": ("Unknown", "Failed")},
        id="rollout stuck",
    ),
    pytest.param(
        call(children=observed(call(spec(replicas=2)), ready=1, conditions=[REFUSED])),
        "Ready",
        {"Ready": ("True", "InferenceReady"), "Healthy": ("False", "Failed")},
        id="one group serves and the next is refused",
    ),
    pytest.param(
        call(children=running(), settings=Settings(leader_image="new:v2")),
        "Ready",
        {"Ready": ("True", "InferenceReady"), "UpdateAvailable": ("True", "NewerDecision")},
        id="other settings while serving",
    ),
]


@pytest.mark.parametrize(("answer", "phase", "expected"), TABLE)
def test_conditions_are(answer: Answer, phase: str, expected: dict[str, tuple[str, str]]) -> None:
    assert {kind: answer.conditions()[kind] for kind in expected} == expected
    assert answer.status["phase"] == phase


@pytest.mark.parametrize(("answer", "phase", "expected"), TABLE)
def test_all_conditions_are_always_there_with_a_message(answer: Answer, phase: str, expected: Any) -> None:
    assert list(answer.conditions()) == [
        "Ready", "ModelLoaded", "GPUAllocated", "ServiceReady", "Healthy", "UpdateAvailable", "ChildConflict",
    ]  # fmt: skip
    assert all(condition["message"] for condition in answer.status["conditions"])


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        pytest.param(call(children=running()), "Ready", "ready and accepting requests: 1 of 1 group is", id="ready"),
        pytest.param(part(3, 1), "Healthy", "1 of 3 groups are ready", id="counts"),
        pytest.param(
            call(NAMED), "Ready", "weights does not exist in namespace ns: create it [Transient]", id="missing"
        ),
        pytest.param(
            call(NAMED, related=[cache(ready=False, downloadProgress=40)]),
            "Ready",
            "waits for ModelCache weights, which is Downloading (40%): as it is [Transient]",
            id="progress",
        ),
        pytest.param(
            call(NAMED, related=[FAILED_CACHE]),
            "Ready",
            "is Failed: as it is [External]",
            id="failed",
        ),
        pytest.param(call(BROKEN), "Ready", "[Configuration]", id="class of a wrong spec"),
        pytest.param(
            call(BROKEN, children=running()), "Ready", "what ran before goes on: 1 of 1 group is ready", id="goes on"
        ),
        pytest.param(call(children=starting(REFUSED)), "Ready", "FailedCreate: pods are forbidden", id="refused"),
        pytest.param(call(children=starting(REFUSED)), "Ready", "raise that ResourceQuota", id="what to do"),
        pytest.param(call(children=starting(NO_SET)), "Ready", "replicasets.apps is forbidden", id="no ReplicaSet"),
        pytest.param(call(children=starting(UNSAFE)), "Ready", "Pod Security level that permits it", id="policy"),
        pytest.param(call(children=starting(UNSAFE)), "Ready", "[Configuration]", id="its class"),
        pytest.param(call(children=starting(NO_GPUS)), "GPUAllocated", "limited: requests.amd.com/gpu=4", id="quota"),
        pytest.param(call(children=starting(STUCK)), "Healthy", "has timed out progressing", id="stuck"),
        pytest.param(call(spec(**DISTRIBUTED), unmanaged=[LWS]), "Ready", "install LWS", id="LWS"),
        pytest.param(
            call(spec(**AUTOSCALED), unmanaged=["HorizontalPodAutoscaler.autoscaling/v2"]),
            "Ready",
            "HorizontalPodAutoscaler demo cannot be created",
            id="autoscaler",
        ),
        pytest.param(
            call(spec(**DISTRIBUTED)), "GPUAllocated", "TP 1 x PP 4 x DP 1 on 2 nodes with 2 GPUs each", id="layout"
        ),
        pytest.param(
            call(spec(vllm={"engineArgs": {"max_num_seq": 4}})), "Ready", "did you mean max_num_seqs?", id="a warning"
        ),
        pytest.param(
            call(children=running(), settings=Settings(leader_image="new:v2")),
            "UpdateAvailable",
            "image: inference-leader:v0.1.0 -> new:v2",
            id="what an update changes",
        ),
        pytest.param(
            call(spec(networking={"serviceType": "LoadBalancer"}), children=running()),
            "ServiceReady",
            "no address from the load balancer yet",
            id="no address",
        ),
    ],
)
def test_a_message_says_what_people_need(answer: Answer, kind: str, words: str) -> None:
    assert words in answer.condition(kind)["message"]


def test_an_address_makes_a_balanced_service_ready() -> None:
    given = spec(networking={"serviceType": "LoadBalancer"})
    balanced = stored(call(given).child("Service"), {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})
    others = [child for child in running(given) if child["kind"] != "Service"]
    assert call(given, children=[balanced, *others]).conditions()["ServiceReady"] == ("True", "Successful")


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        pytest.param(call(children=running()), 0, id="ready"),
        pytest.param(call(NAMED, children=running()), 30, id="cache missing: transient"),
        pytest.param(call(NAMED, children=running(), related=[FAILED_CACHE]), 60, id="cache failed"),
        pytest.param(call(BROKEN, children=running()), 0, id="wrong spec: an edit wakes the hook by itself"),
        pytest.param(call(spec(**DISTRIBUTED), unmanaged=[LWS]), 60, id="capability missing: external"),
        pytest.param(call(), 10, id="children are being made"),
    ],
)
def test_an_error_is_tried_again_after_the_time_of_its_class(answer: Answer, seconds: float) -> None:
    assert answer.resync_after_seconds == seconds


def overdue(**options: Any) -> Answer:
    """What is answered when a child is missing for longer than a minute."""
    first = call(**options)
    return call(status=first.status, now=NOW + timedelta(seconds=61), **options)


def test_a_child_that_does_not_appear_is_said_after_half_a_minute() -> None:
    answer = overdue()
    assert answer.conditions()["ChildConflict"] == ("True", "ChildMissing")
    assert answer.conditions()["Ready"] == ("False", "ChildMissing")
    assert "Service demo was not created within 30 s" in answer.condition("Ready")["message"]
    assert answer.condition("Ready")["message"].endswith("[Permanent]")
    assert answer.status["phase"] == "Failed"


def test_a_service_that_serves_without_one_of_its_children_is_degraded() -> None:
    """The first column never says Ready beside Ready=False."""
    there = [child for child in running() if child["kind"] != "PodDisruptionBudget"]
    answer = overdue(children=there)
    assert answer.conditions()["Ready"] == ("False", "ChildMissing")
    assert answer.status["phase"] == "Degraded"


def test_what_others_may_not_see_is_in_no_condition() -> None:
    """A cache of the same name in another namespace is nobody's business here."""
    foreign = cache()
    foreign["metadata"]["namespace"] = "other"
    answer = call(NAMED, related=[foreign])
    assert answer.conditions()["Ready"] == ("False", "ModelNotFound")


def test_ready_workers_are_counted_by_the_groups_that_run() -> None:
    """While an edit is held back, the groups have their old size."""
    given = spec(**DISTRIBUTED)
    there = observed(call(given), ready=1)
    assert call(given, children=there).status["distributed"] == {"leaderReady": 1, "workersReady": 1}
    larger = given | {"resources": {"totalGpus": 8}, "distributed": {"enabled": True, "size": 4}}
    answer = call(larger | {"storage": {"modelCache": "missing"}}, children=there)
    assert answer.status["distributed"] == {"leaderReady": 1, "workersReady": 1}
    single = call(spec(storage={"modelCache": "missing"}), children=there)
    assert single.status["distributed"] == {"leaderReady": 1, "workersReady": 1}


def test_a_single_node_service_has_no_distributed_status() -> None:
    assert "distributed" not in call(children=running()).status


@pytest.mark.parametrize("kind", [{}, DISTRIBUTED])
def test_counts_are_those_of_the_workload(kind: dict[str, Any]) -> None:
    given = spec(replicas=3, **kind)
    there = [
        stored(child, {"replicas": 3, "readyReplicas": 2}) if child["kind"] == workload(call(given))["kind"] else child
        for child in observed(call(given))
    ]
    status = call(given, children=there).status
    assert (status["replicas"], status["readyReplicas"]) == (3, 2)
    assert status["selector"] == "inference.ai/service=demo,inference.ai/role=leader"


def test_very_many_mistakes_fit_a_condition() -> None:
    """Those that fit are told, the others are counted."""
    many = {f"bad name {number}": 1 for number in range(200)}
    message = call(spec(vllm={"engineArgs": many})).condition("Ready")["message"]
    assert 600 < len(message) <= 1024
    told = message.count("is no argument name")
    assert message.endswith(f"; and {200 - told} more [Configuration]")
