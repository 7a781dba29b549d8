"""The stand-in for LWS that makes real pods: what pods look like, and when a group is taken down."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tools.sandbox.api import Object
from tools.sandbox.node.groups import GROUP, NAME, REVISION, WORKER, Group, build_pod, build_service, revision_of


def build_set(**spec: Any) -> Object:
    container = {
        "name": "vllm",
        "image": "i",
        "env": [{"name": "LWS_GROUP_SIZE", "value": "9"}, {"name": "A", "value": "1"}],
    }
    templates = {
        role: {"metadata": {"labels": {"role": role}}, "spec": {"containers": [copy.deepcopy(container)]}}
        for role in ("leaderTemplate", "workerTemplate")
    }
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "llama", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 2, **templates}, **spec},
    }


def build_running(index: int, worker: int, **status: Any) -> Object:
    pod = build_pod(build_set(), index, worker, build_set())
    ready = [{"type": "Ready", "status": "True"}]
    pod["status"] = {"phase": "Running", "conditions": ready, "containerStatuses": [{"restartCount": 0}], **status}
    return pod


def test_names_and_addresses_are_those_of_lws() -> None:
    item = build_set()
    leader, worker = build_pod(item, 0, 0, item), build_pod(item, 0, 1, item)
    assert [pod["metadata"]["name"] for pod in (leader, worker)] == ["llama-0", "llama-0-1"]
    assert worker["spec"]["subdomain"] == build_service(item, 0)["metadata"]["name"] == "llama-0"
    assert worker["metadata"]["labels"] | {NAME: "llama", GROUP: "0", WORKER: "1"} == worker["metadata"]["labels"]
    assert [pod["metadata"]["labels"]["role"] for pod in (leader, worker)] == ["leaderTemplate", "workerTemplate"]


def test_its_variables_come_first_and_replace_the_users() -> None:
    item = build_set()
    environment = build_pod(item, 1, 1, item)["spec"]["containers"][0]["env"]
    assert [(it["name"], it["value"]) for it in environment] == [
        ("LWS_LEADER_ADDRESS", "llama-1.llama-1.ns"),
        ("LWS_GROUP_SIZE", "2"),
        ("LWS_WORKER_INDEX", "1"),
        ("A", "1"),
    ]


def test_the_object_itself_is_never_changed() -> None:
    item = build_set()
    before = copy.deepcopy(item)
    build_pod(item, 0, 1, item)
    assert item == before


def test_only_what_pods_are_made_of_makes_a_new_revision() -> None:
    item = build_set()
    assert revision_of(build_set(replicas=3)) == revision_of(item)
    other = build_set()
    other["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["image"] = "j"
    assert revision_of(other) != revision_of(item)
    assert build_pod(item, 0, 0, item)["metadata"]["labels"][REVISION] == revision_of(item)


def test_a_whole_group_is_ready_and_not_broken() -> None:
    group = Group(0, (build_running(0, 0), build_running(0, 1)))
    assert group.is_ready(2)
    assert not group.is_broken(2)


@pytest.mark.parametrize(
    ("why", "worker"),
    [
        ("a container restarted", build_running(0, 1, containerStatuses=[{"restartCount": 1}])),
        ("a pod failed", build_running(0, 1, phase="Failed")),
        (
            "a pod is going",
            build_running(0, 1) | {"metadata": build_running(0, 1)["metadata"] | {"deletionTimestamp": "t"}},
        ),
    ],
)
def test_a_group_is_broken_when(why: str, worker: Object) -> None:
    assert Group(0, (build_running(0, 0), worker)).is_broken(2), why


def test_a_group_with_a_pod_missing_is_broken() -> None:
    assert Group(0, (build_running(0, 0),)).is_broken(2)
