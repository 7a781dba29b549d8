"""What only events say of a service's pods reaches its GPURequest, and goes when it is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from app.agent.events import index_events
from app.agent.failure import MESSAGE_LIMIT
from app.agent.request_status import build_status
from tests.agent.build import Json, grouped, owner, pod, request, running, single, snapshot
from tests.agent.test_events import MOUNT, event, parsed

KEY = ("team", "llama")
QUOTA = "exceeded quota: team, requested: requests.amd.com/gpu=8, used: requests.amd.com/gpu=0, limited: requests."
QUOTA += "amd.com/gpu=4"
ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other-0'
CLAIM = 'storageclass.storage.k8s.io "fast" not found'
REPLICAS: Json = {"replicas": {"min": 2, "max": 2}}
UNBOUND: Json = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: none",
}


def refused(name: str, of: str = "llama", **more: Any) -> Json:
    """As the controller of StatefulSets writes it."""
    message = f'Create Pod {name} in StatefulSet {of} failed error: pods "{name}" is forbidden: {QUOTA}'
    return event(message, **{"reason": "FailedCreate", "kind": "StatefulSet", "about": of, "name": name} | more)


def failures(
    pods: Iterable[Json], events: Iterable[Json] | None, status: Json | None = None, created: str = ""
) -> list[Json]:
    """What the GPURequest tells; `events` None: they are not known."""
    asked = request(status=status, **REPLICAS)
    if created:
        asked["metadata"]["creationTimestamp"] = created
    seen = snapshot(pods=pods, requests=[asked])
    known = replace(seen, warned=None if events is None else index_events(parsed(*events)))
    return [it.model_dump(mode="json", by_alias=True) for it in build_status(known, KEY).failures]


def waiting(item: Json, *statuses: Json) -> Json:
    return item | {"status": {"phase": "Pending", "containerStatuses": list(statuses)}}


CREATING: Json = {"name": "leader", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
CACHE: Json = {"volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "weights"}}]}


def test_a_pod_of_a_group_that_a_quota_forbids_is_told() -> None:
    [failure] = failures([], [refused("llama-0")])
    assert (failure["pod"], failure["reason"], failure["error"]) == ("llama-0", "NotCreated", "Resource")
    assert failure["message"] == (
        f'StatefulSet llama cannot make pod llama-0: pods "llama-0" is forbidden: {QUOTA}; '
        "raise that ResourceQuota, or ask for less."
    )


def test_workers_that_a_quota_forbids_are_told_after_leaders() -> None:
    events = [refused("llama-0-1", "llama-0", version=1), refused("llama-1", version=2)]
    found = failures([grouped(0, 0, node="n1")], events)
    assert [it["pod"] for it in found] == ["llama-1", "llama-0-1"]


def test_of_one_pod_the_newest_refusal_is_told() -> None:
    later = refused("llama-0", minute=3)
    later["message"] = later["message"].replace("gpu=0", "gpu=2")
    [failure] = failures([], [later | {"metadata": later["metadata"] | {"name": "later"}}, refused("llama-0")])
    assert "used: requests.amd.com/gpu=2" in failure["message"]


@pytest.mark.parametrize(
    ("pods", "events", "created"),
    [
        pytest.param([grouped(0, 0, node="n1")], [refused("llama-0")], "", id="its pod is there"),
        pytest.param([], [refused("llama-2")], "", id="fewer groups are asked for"),
        pytest.param([], [refused("llama-0")], "2026-01-01T02:00:00Z", id="it is of an earlier service"),
        pytest.param([], [refused("llama-0", namespace="other")], "", id="it is of another namespace"),
        pytest.param([], [refused("llama-0", "llama-9")], "", id="it is of another set"),
        pytest.param([], [refused("llama-x")], "", id="it is of no group"),
        pytest.param([], [refused("llama-0", about="rag-llama")], "", id="it is about another set"),
        pytest.param([], [refused("llama-0") | {"message": "Create Claim c"}], "", id="it is about a claim"),
    ],
)
def test_a_refusal_that_is_over_or_not_ours_is_not_told(pods: list[Json], events: list[Json], created: str) -> None:
    assert failures(pods, events, created=created) == []


LWS: Json = {"reason": "FailedCreate", "kind": "LeaderWorkerSet", "about": "llama", "lastTimestamp": None}


def test_what_lws_itself_may_not_make_is_told() -> None:
    said = f'statefulsets.apps "llama" is forbidden: {QUOTA}'
    leaders = event(f"Failed to create leader statefulset llama: {said}", eventTime="2026-01-01T01:00:00.0Z", **LWS)
    [failure] = failures([], [leaders])
    assert failure["pod"] == "llama-0"
    assert failure["message"].startswith(
        "LeaderWorkerSet llama cannot make the StatefulSet of its leaders: statefulsets"
    )
    assert failures([grouped(0, 0, node="n1")], [leaders]) == []
    message = f"Failed to create worker statefulset for leader pod llama-0: {said}"
    workers = event(message, eventTime="2026-01-01T01:00:00.0Z", **LWS)
    [failure] = failures([grouped(0, 0, node="n1")], [workers])
    assert failure["pod"] == "llama-0-1"
    assert failures([grouped(0, 0, node="n1"), grouped(0, 1, node="n2")], [workers]) == []
    assert failures([], [workers]) == []


@pytest.mark.parametrize(
    ("reason", "said", "error", "advice"),
    [
        ("FailedMount", MOUNT, "Configuration", "create it in this namespace, or correct its name."),
        (
            "FailedAttachVolume",
            ATTACH,
            "Resource",
            "stop the pods that use it on another node, or use a ReadWriteMany claim.",
        ),
    ],
)
@pytest.mark.parametrize("item", [single("p", node="n1"), grouped(0, 0, node="n1")], ids=["Deployment", "LWS"])
def test_a_volume_that_does_not_come_is_told(item: Json, reason: str, said: str, error: str, advice: str) -> None:
    name = item["metadata"]["name"]
    told = event(said, reason=reason, about=name, uid=f"uid-{name}")
    [failure] = failures([waiting(item, CREATING)], [told])
    assert (failure["reason"], failure["error"]) == ("Volume", error)
    assert failure["message"] == f"A volume is missing: {reason}: {said}; {advice}"


def test_a_pod_that_has_started_has_its_volumes() -> None:
    told = event(about="p")
    ended = {"name": "leader", "ready": False, "state": {"terminated": {"exitCode": 0}}}
    pulling = {"name": "leader", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    initialising = {"name": "wait", "ready": False, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    begun = waiting(single("p", node="n1"), pulling)
    begun["status"]["initContainerStatuses"] = [initialising]
    for item in (running(single("p", node="n1")), waiting(single("p", node="n1"), ended), begun):
        assert "Volume" not in [it["reason"] for it in failures([item], [told])]


def test_a_pod_that_cannot_have_its_image_has_its_volumes() -> None:
    waits = {"reason": "ErrImagePull", "message": "not found"}
    item = waiting(single("p", node="n1"), {"name": "leader", "ready": False, "state": {"waiting": waits}})
    assert [it["reason"] for it in failures([item], [event(about="p")])] == ["ImagePull"]


def provisioning(**more: Any) -> Json:
    return event(CLAIM, reason="ProvisioningFailed", kind="PersistentVolumeClaim", about="weights", **more)


def test_a_claim_that_cannot_be_made_is_told_with_the_schedulers_word() -> None:
    item = single("p", **CACHE) | {"status": {"phase": "Pending", "conditions": [UNBOUND]}}
    [failure] = failures([item], [provisioning()])
    assert failure["message"] == (
        f"The scheduler finds no node: PersistentVolumeClaim weights: ProvisioningFailed: {CLAIM}; "
        "name a StorageClass that exists."
    )
    assert (failure["reason"], failure["error"]) == ("Volume", "Configuration")


def test_a_claim_that_waits_for_its_first_pod_is_told_before_the_scheduler_gives_up() -> None:
    [failure] = failures([single("p", **CACHE)], [provisioning()])
    assert failure["message"].startswith("A volume is missing: PersistentVolumeClaim weights: ProvisioningFailed")


def test_what_was_said_of_a_claim_before_the_pod_was_made_is_told_only_with_the_schedulers_word() -> None:
    """The claim may be bound since: then the pod waits for something else."""
    late = single("p", created="2026-01-01T01:00:01Z", **CACHE)
    assert failures([late], [provisioning()]) == []
    [failure] = failures([late | {"status": {"phase": "Pending", "conditions": [UNBOUND]}}], [provisioning()])
    assert f"ProvisioningFailed: {CLAIM}" in failure["message"]


def test_a_claim_of_which_no_event_tells_is_told_by_the_scheduler() -> None:
    item = single("p", **CACHE) | {"status": {"phase": "Pending", "conditions": [UNBOUND]}}
    [failure] = failures([item], [])
    assert failure["message"] == (
        "The scheduler finds no node: 0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims; "
        "look at the claim: kubectl describe pvc."
    )
    assert failure["reason"] == "Volume"
    late = UNBOUND | {
        "reason": "SchedulerError",
        "message": 'running PreBind plugin "VolumeBinding": binding volumes: x',
    }
    [failure] = failures([item | {"status": {"phase": "Pending", "conditions": [late]}}], [])
    assert failure["reason"] == "Volume"


def test_a_claim_that_is_not_there_needs_an_edit() -> None:
    missing = UNBOUND | {"message": '0/4 nodes are available: persistentvolumeclaim "kernels" not found. not found'}
    [failure] = failures([single("p") | {"status": {"phase": "Pending", "conditions": [missing]}}], [])
    assert (failure["reason"], failure["error"]) == ("Volume", "Configuration")
    assert 'persistentvolumeclaim "kernels" not found; create the claim' in failure["message"]


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(single("p", node="n1", **CACHE), id="it has a node, so the claim is bound"),
        pytest.param(single("p"), id="it mounts another"),
        pytest.param(single("p", gates=["inference.ai/placement"], **CACHE), id="it waits for its turn"),
        pytest.param(single("p", leaving=True, **CACHE), id="it leaves"),
        pytest.param(
            pod("p", labels={"inference.ai/service": "llama"}, owners=[owner("Job", "llama")], **CACHE),
            id="another made it",
        ),
    ],
)
def test_a_claim_that_is_not_waited_for_is_not_told(item: Json) -> None:
    assert failures([item], [provisioning()]) == []


def test_what_is_long_is_cut_and_what_to_do_is_not() -> None:
    [failure] = failures([waiting(single("p", node="n1"))], [event(f"{MOUNT} {'x' * 900}", about="p")])
    assert len(failure["message"]) <= MESSAGE_LIMIT
    assert failure["message"].endswith(" ...; create it in this namespace, or correct its name.")


def test_while_events_are_not_known_what_they_told_stands() -> None:
    """A new leader of the agent must not take back what it has not read yet."""
    pods = [
        waiting(grouped(0, 0, node="n1"), CREATING),
        grouped(1, 0, **CACHE) | {"status": {"phase": "Pending", "conditions": [UNBOUND]}},
    ]
    told = failures(pods, [event(about="llama-0"), provisioning(name="e2"), refused("llama-0-1", "llama-0")])
    assert [it["reason"] for it in told] == ["Volume", "Volume", "NotCreated"]
    assert failures(pods, None, {"failures": told}) == told
    assert failures(pods, [], {"failures": told})[0]["pod"] == "llama-1", "they are known, and over"
    begun = [running(grouped(0, 0, node="n1")), running(grouped(0, 1, node="n2")), running(grouped(1, 0, node="n3"))]
    assert failures(begun, None, {"failures": told}) == []


HUNG = (
    "Readiness probe failed: gpu_available: ok\napi_responsive: ok\n"
    "engine_progress: 3 requests run, and no step has ended for 150 s\n"
)


def hanging(item: Json, *, ready: bool = False, since: str = "2026-01-01T01:00:30Z") -> Json:
    """It runs, and its readiness probe fails."""
    started = running(item)
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    status = started["status"] | {"conditions": [condition]}
    status["containerStatuses"] = [it | {"ready": ready} for it in status["containerStatuses"]]
    return started | {"status": status}


def unhealthy(message: str = HUNG, **more: Any) -> Json:
    return event(message, **{"reason": "Unhealthy", "about": "llama-0", "uid": "uid-llama-0"} | more)


def test_what_a_readiness_probe_says_of_a_hung_engine_is_told() -> None:
    [failure] = failures([hanging(grouped(0, 0, node="n1"))], [unhealthy()])
    assert (failure["pod"], failure["reason"], failure["error"]) == ("llama-0", "Unhealthy", "Transient")
    assert "engine_progress: 3 requests run, and no step has ended for 150 s; a GPU or a" in failure["message"]


def test_the_newest_word_of_a_probe_is_told() -> None:
    device = HUNG.replace("gpu_available: ok", "gpu_available: no device /dev/kfd")
    [failure] = failures([hanging(grouped(0, 0, node="n1"))], [unhealthy(device, name="e2", minute=3), unhealthy()])
    assert failure["message"] == "The readiness probe fails: gpu_available: no device /dev/kfd."


@pytest.mark.parametrize(
    ("item", "told"),
    [
        pytest.param(hanging(grouped(0, 0, node="n1"), ready=True), unhealthy(), id="it is ready"),
        pytest.param(
            hanging(grouped(0, 0, node="n1"), since="2026-01-01T01:09:00Z"), unhealthy(), id="it failed another time"
        ),
        pytest.param(hanging(grouped(0, 0, node="n1")), unhealthy(uid="other"), id="it is of an earlier pod"),
        pytest.param(hanging(grouped(0, 0, node="n1")), unhealthy(namespace="other"), id="it is of another namespace"),
        pytest.param(
            hanging(grouped(0, 0, node="n1")), unhealthy("Readiness probe failed: HTTP 503"), id="it is another probe"
        ),
    ],
)
def test_a_probe_that_does_not_fail_now_or_is_not_ours_is_not_told(item: Json, told: Json) -> None:
    assert failures([item], [told]) == []


def test_what_a_probe_said_stands_while_events_are_not_known() -> None:
    known = failures([hanging(grouped(0, 0, node="n1"))], [unhealthy()])
    assert failures([hanging(grouped(0, 0, node="n1"))], None, status={"failures": known}) == known
    assert failures([hanging(grouped(0, 0, node="n1"), ready=True)], None, status={"failures": known}) == []
