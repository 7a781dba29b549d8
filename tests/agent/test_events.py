"""Of events little is kept, and nothing that varies from one to the next."""

from __future__ import annotations

from typing import Any

import pytest

from app.agent.events import EVENT_REASONS, MOST, EventStore, find_recent, find_texts, index_events, parse_event
from app.agent.failure import MESSAGE_LIMIT
from app.agent.io.resources import EVENTS
from app.agent.snapshot import Warned
from tests.agent.build import Json

POD = ("team", "Pod", "p")
MOUNT = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'
TIMED_OUT = "Unable to attach or mount volumes: unmounted volumes=[keys], unattached volumes=[{}], failed to process "
TIMED_OUT += "volumes=[]: timed out waiting for the condition"


def event(
    message: str = MOUNT,
    *,
    name: str = "e1",
    namespace: str = "team",
    reason: str = "FailedMount",
    minute: int = 0,
    version: int = 10,
    uid: str = "",
    kind: str = "Pod",
    about: str = "p",
    **more: Any,
) -> Json:
    """As kubelet and the controllers of Kubernetes write it."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(version)}
    about_it = {"kind": kind, "name": about, "namespace": namespace} | ({"uid": uid} if uid else {})
    seen = {"lastTimestamp": f"2026-01-01T01:{minute:02}:00Z"}
    return {"metadata": metadata, "reason": reason, "message": message, "involvedObject": about_it} | seen | more


def parsed(*items: Json) -> list[Warned]:
    return [found for item in items if (found := parse_event(item))]


def texts(*items: Json, uid: str = "") -> list[str]:
    return list(find_texts(index_events(parsed(*items)), POD, uid))


def test_only_a_few_reasons_and_kinds_are_kept() -> None:
    assert parse_event(event(reason="BackOff")) is None
    assert parse_event(event(kind="Node")) is None
    assert parse_event({"reason": "FailedMount", "involvedObject": "Pod"}) is None


def test_each_reason_that_is_kept_is_watched() -> None:
    assert {it.selectors["fieldSelector"] for it in EVENTS} == {f"reason={reason}" for reason in EVENT_REASONS}


def test_a_message_of_a_megabyte_is_cut_before_it_is_looked_at() -> None:
    [found] = parsed(event("x" * 1_000_000))
    assert len(found.text) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MOUNT, f"(combined from similar events): {MOUNT}"),
        (TIMED_OUT.format("keys kube-api-access-1"), TIMED_OUT.format("kube-api-access-1 keys")),
        (
            'Error creating: pods "demo-leader-68979c55c4-62c8r" is forbidden: exceeded quota: q',
            'Error creating: pods "demo-leader-68979c55c4-x7k2p" is forbidden: exceeded quota: q',
        ),
        (
            "mount /var/lib/kubelet/pods/899ba4ed-10e5-48c7-a5c0-dbe9b0f8b041/volumes failed at 12:00:01",
            "mount /var/lib/kubelet/pods/9a9ba4ed-10e5-48c7-a5c0-dbe9b0f8b042/volumes failed at 12:02:03",
        ),
    ],
    ids=["combined", "order of volumes", "name of a pod that was not made", "uid and time"],
)
def test_what_varies_is_taken_out(one: str, other: str) -> None:
    assert texts(event(one)) == texts(event(other))


def test_an_event_that_is_seen_again_changes_nothing() -> None:
    store = EventStore()
    assert store.apply("ADDED", event(minute=0))
    assert not store.apply("MODIFIED", event(minute=9, version=11, count=7))
    assert find_recent(index_events(store.objects.values()), POD)[0].at % 3600 == 9 * 60


def test_what_passes_in_the_first_second_of_a_pod_is_not_told() -> None:
    assert (
        parse_event(event('MountVolume.SetUp failed for volume "k" : failed to sync secret cache: timed out')) is None
    )
    assert parse_event(event('MountVolume.SetUp failed for volume "k" : object "ns"/"k" not registered')) is None


def test_the_volume_that_is_named_says_more_than_that_time_is_up() -> None:
    late = event(TIMED_OUT.format("keys"), name="e2", minute=5)
    assert texts(event(), late) == [f"FailedMount: {MOUNT}"]
    [alone] = texts(late)
    assert "unmounted volumes=[keys]" in alone


def test_two_causes_are_told_in_one_order_whichever_came_last() -> None:
    other = MOUNT.replace("keys", "certificates")
    for minutes in ((1, 2), (2, 1)):
        found = texts(event(minute=minutes[0]), event(other, name="e2", minute=minutes[1]))
        assert found == [f"FailedMount: {other}", f"FailedMount: {MOUNT}"]


def test_a_cause_that_was_not_seen_for_long_is_over() -> None:
    assert texts(event(minute=0), event("other", name="e2", minute=40)) == ["FailedMount: other"]


def test_events_of_an_earlier_pod_of_the_name_are_left_out() -> None:
    assert texts(event(uid="u1"), uid="u2") == []
    assert texts(event(uid="u1"), uid="u1") == [f"FailedMount: {MOUNT}"]
    assert texts(event(), uid="u1") == [f"FailedMount: {MOUNT}"], "who wrote it did not say which"


def test_an_event_counts_in_its_own_namespace_alone() -> None:
    """The API server refuses one about an object elsewhere; whatever it says, its namespace decides."""
    forged = event(namespace="attacker")
    forged["involvedObject"]["namespace"] = "team"
    assert texts(forged) == []


def test_times_of_both_apis_of_events_are_read() -> None:
    old = event()
    new = event(lastTimestamp=None, eventTime="2026-01-01T01:00:00.000000Z")
    series = event(lastTimestamp=None, eventTime="2025-01-01T01:00:00.000000Z", series={"count": 2})
    series["series"]["lastObservedTime"] = "2026-01-01T01:00:00.000000Z"
    assert len({found.at for found in parsed(old, new, series)}) == 1


def test_whoever_floods_a_namespace_loses_its_own_oldest_events_and_no_others() -> None:
    store = EventStore()
    store.apply("ADDED", event(namespace="quiet", version=1))
    for number in range(MOST + 50):
        store.apply("ADDED", event(name=f"e{number}", version=number + 2))
    assert ("quiet", "e1") in store.objects
    assert len(store.objects) == MOST + 1
    assert ("team", f"e{MOST + 49}") in store.objects
    assert ("team", "e49") not in store.objects
    store.apply("DELETED", event(name="e60"))
    store.apply("ADDED", event(name="later", version=9_999))
    assert len(store.objects) == MOST + 1


def test_a_list_is_bounded_page_by_page() -> None:
    store = EventStore()
    flood = parsed(*(event(name=f"e{number}", version=number) for number in range(3 * MOST)))
    kept = store.trim(flood + parsed(event(namespace="quiet")))
    assert len(kept) == MOST + 1
    assert {it.version for it in kept if it.namespace == "team"} == set(range(2 * MOST, 3 * MOST))
    store.replace(kept)
    store.apply("ADDED", event(name="later", version=99_999))
    assert len(store.objects) == MOST + 1
