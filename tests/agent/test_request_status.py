"""GPURequests tell where their pods are bound, why they are not ready, and how long loading took."""

from __future__ import annotations

from typing import Any

from app.agent.request_status import MOST_FAILURES, plan_requests
from tests.agent.build import Json, gated, grouped, pool, request, single, snapshot


def written(status: Json | None = None, **objects: Any) -> Json:
    """What is written into the one request's status; {} when nothing is."""
    patches = plan_requests(snapshot(requests=[request(status=status)], **objects))
    body: Json = patches[0].body["status"] if patches else {}
    return body


def places(status: Json) -> dict[str, tuple[int, int]]:
    return {it["name"]: (it["group"], it["worker"]) for it in status["pods"]}


def failing(item: Json, message: str = "4 Insufficient amd.com/gpu") -> Json:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return item | {"status": item["status"] | {"conditions": [condition]}}


def running(item: Json, started: str, ready: str | None) -> Json:
    """A pod whose container runs since then, and is ready since, if at all."""
    status = {
        "phase": "Running",
        "containerStatuses": [{"name": "leader", "ready": bool(ready), "state": {"running": {"startedAt": started}}}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": ready}],
    }
    return item | {"status": status}


def test_pods_of_a_group_are_told_by_group_and_worker() -> None:
    pods = [grouped(1, 0, node="n3"), grouped(0, 1, node="n2"), grouped(0, 0, node="n1"), grouped(1, 1)]
    status = written(pods=pods, pools=[pool()])
    assert status["pods"] == [
        {"name": "llama-0", "group": 0, "worker": 0, "node": "n1", "gpus": 2, "resource": "amd.com/gpu"},
        {"name": "llama-0-1", "group": 0, "worker": 1, "node": "n2", "gpus": 2, "resource": "amd.com/gpu"},
        {"name": "llama-1", "group": 1, "worker": 0, "node": "n3", "gpus": 2, "resource": "amd.com/gpu"},
    ]
    assert (status["groups"], status["poolExists"]) == (2, True)


def test_a_pool_that_is_missing_is_told() -> None:
    status = written(pools=[pool("another")])
    assert (status["poolExists"], status["anyPool"]) == (False, True)
    assert written()["anyPool"] is False


def test_pods_without_a_node_are_told_by_group_so_that_nothing_of_theirs_is_given_back() -> None:
    status = written(pods=[grouped(1, 0), grouped(1, 1), grouped(0, 0, node="n1"), grouped(2, 0, leaving=True)])
    assert (status["unbound"], status.get("unnumbered")) == ([{"group": 1, "pods": 2}], None)
    status = written(pods=[gated(single("a")), single("b"), single("c", node="n1")])
    assert (status.get("unbound", []), status["unnumbered"]) == ([], 2)


def test_groups_count_pods_that_stay() -> None:
    pods = [grouped(0, 0, leaving=True), grouped(0, 1), grouped(1, 0, leaving=True), grouped(2, 0, phase="Failed")]
    assert written(pods=pods)["groups"] == 1
    assert written(pods=[single("a"), single("b"), single("c", leaving=True)])["groups"] == 2


def test_pods_of_a_deployment_are_numbered_oldest_first() -> None:
    pods = [
        single("a", node="n1", created="2026-01-01T00:00:02Z"),
        single("c", node="n3", created="2026-01-01T00:00:01Z"),
        single("b", node="n2", created="2026-01-01T00:00:01Z"),
    ]
    assert places(written(pods=pods)) == {"b": (0, 0), "c": (1, 0), "a": (2, 0)}


def test_a_pod_keeps_its_number_and_a_new_one_gets_the_lowest_free() -> None:
    before = {"pods": [{"name": "b", "group": 1, "worker": 0, "node": "n2", "gpus": 2}]}
    pods = [single("a", node="n1"), single("b", node="n2"), single("c", node="n3")]
    assert places(written(before, pods=pods)) == {"a": (0, 0), "b": (1, 0), "c": (2, 0)}


def test_a_pod_that_comes_instead_of_one_that_leaves_has_its_number() -> None:
    """A number beyond the groups that are asked for would hold GPUs that nobody accounts for."""
    pods = [single("a", node="n1"), single("b", node="n2")]
    first = written(pods=pods)
    replaced = [single("a", node="n1", leaving=True), single("b", node="n2"), single("c", node="n3")]
    second = written(first, pods=replaced)
    assert places(second) == {"a": (0, 0), "b": (1, 0), "c": (0, 0)}
    assert places(written(second, pods=replaced[1:])) == {"b": (1, 0), "c": (0, 0)}


def test_numbers_close_up_when_groups_are_fewer() -> None:
    before = {"pods": [{"name": name, "group": group} for group, name in enumerate("abc")]}
    assert places(written(before, pods=[single("b", node="n2"), single("c", node="n3")])) == {"b": (1, 0), "c": (0, 0)}


def test_the_agents_own_label_is_the_number() -> None:
    item = single("a", node="n1")
    item["metadata"]["labels"]["inference.ai/group"] = "4"
    assert places(written(pods=[single("b", node="n2"), item])) == {"b": (0, 0), "a": (4, 0)}


def test_what_leaves_is_told_while_it_holds_gpus_but_its_failure_is_not() -> None:
    status = written(pods=[failing(grouped(0, 0, node="n1", leaving=True))])
    assert places(status) == {"llama-0": (0, 0)}
    assert "failures" not in status


def test_failures_tell_leaders_first_and_at_most_eight() -> None:
    pods = [failing(grouped(group, worker)) for group in range(5) for worker in (1, 0)]
    status = written(pods=pods)
    named = [it["pod"] for it in status["failures"]]
    assert named == ["llama-0", "llama-1", "llama-2", "llama-3", "llama-4", "llama-0-1", "llama-1-1", "llama-2-1"]
    assert len(named) == MOST_FAILURES
    assert status["failures"][0] == {
        "pod": "llama-0",
        "reason": "Unschedulable",
        "message": "The scheduler finds no node: 4 Insufficient amd.com/gpu.",
        "error": "Resource",
    }


def test_an_evicted_pod_is_told_until_a_later_one_is_ready() -> None:
    evicted = single("old", node="n1", phase="Failed", status={"reason": "Evicted", "message": "disk"})
    later = single("new", node="n2", created="2026-01-01T01:00:00Z")
    loading = running(later, "2026-01-01T01:00:05Z", None)
    ready = running(later, "2026-01-01T01:00:05Z", "2026-01-01T01:02:00Z")
    assert [it["pod"] for it in written(pods=[evicted, loading])["failures"]] == ["old"]
    assert "failures" not in written(pods=[evicted, ready])


def test_a_sentence_without_a_cause_does_not_replace_one_that_had_it() -> None:
    told = {"pod": "a", "reason": "ImagePull", "message": "Container leader ...: not found.", "error": "Configuration"}
    waits = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
    item = single("a", status={"containerStatuses": [{"name": "leader", "image": "x", "ready": False, "state": waits}]})
    before = {"failures": [told], "groups": 1, "poolExists": True, "anyPool": True, "unnumbered": 1}
    assert written(before, pods=[item], pools=[pool()]) == {}
    assert (
        written({"failures": []}, pods=[item])["failures"][0]["message"] == "Container leader cannot get its image x."
    )


def test_loading_is_measured_from_the_containers_start_to_ready() -> None:
    pods = [running(single("a", node="n1"), "2026-01-01T00:00:10Z", "2026-01-01T00:00:55Z")]
    status = written(pods=pods)
    assert (status["loadedAt"], status["loadSeconds"]) == ("2026-01-01T00:00:55Z", 45)


def test_the_leader_that_became_ready_last_is_measured() -> None:
    pods = [
        running(grouped(0, 0, node="n1"), "2026-01-01T00:00:10Z", "2026-01-01T00:00:50Z"),
        running(grouped(1, 0, node="n2"), "2026-01-01T00:00:20Z", "2026-01-01T00:01:30Z"),
        running(grouped(1, 1, node="n3"), "2026-01-01T00:00:20Z", "2026-01-01T09:00:00Z"),
    ]
    assert written(pods=pods)["loadSeconds"] == 70


LOADED = {"loadedAt": "2026-01-01T00:00:55Z", "loadSeconds": 45, "groups": 1, "poolExists": False, "anyPool": False}


def loaded(**objects: Any) -> Json:
    status = written(LOADED, **objects)
    return {key: value for key, value in status.items() if key.startswith("load")}


def test_a_probe_that_fails_and_recovers_loads_nothing() -> None:
    item = single("a", node="n1")
    unready = running(item, "2026-01-01T00:00:10Z", None)
    recovered = running(item, "2026-01-01T00:00:10Z", "2026-01-03T00:00:00Z")
    assert loaded(pods=[unready]) == {}
    assert loaded(pods=[recovered]) == {}


def test_a_container_that_started_again_is_loaded_when_it_is_ready() -> None:
    item = single("a", node="n1")
    assert loaded(pods=[running(item, "2026-01-01T05:00:00Z", None)]) == {"loadedAt": None, "loadSeconds": None}
    again = running(item, "2026-01-01T05:00:00Z", "2026-01-01T05:01:00Z")
    assert loaded(pods=[again]) == {"loadedAt": "2026-01-01T05:01:00Z", "loadSeconds": 60}


def test_nothing_is_written_when_nothing_changed() -> None:
    pods = [failing(grouped(0, 0)), running(grouped(1, 0, node="n1"), "2026-01-01T00:00:10Z", "2026-01-01T00:00:55Z")]
    status = {key: value for key, value in written(pods=pods, pools=[pool()]).items() if value is not None}
    assert written(status | {"observedGeneration": 3}, pods=pods, pools=[pool()]) == {}
