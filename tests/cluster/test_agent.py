"""The agent on a real API server, with the rights of its service account: it observes, binds, and never fights."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app.agent.election import RETRY_PERIOD
from app.agent.heartbeat import PERIOD as HEARTBEAT
from app.kube.conditions import parse_time
from tests.cluster.exporter import Exporter
from tests.cluster.place import NODES, Place, cluster_object, pod_spec, service_labels
from tests.cluster.world import API, LWS
from tools.sandbox.agent import NAMESPACE, USER, Agent
from tools.sandbox.api import Object
from tools.sandbox.audit import AuditEvent
from tools.sandbox.cluster import Cluster, wait_until
from tools.sandbox.hooks import read_settings
from tools.sandbox.lws import find_manager
from tools.sandbox.nodes import build_node
from tools.sandbox.operator import crds

EXPORTERS = "exporters"
"""The one namespace whose pods are believed about devices."""
LEASE = ("coordination.k8s.io/v1", "Lease", "inference-agent", NAMESPACE)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with our CRDs; GPUNodes and a pool stand there as the operator's hooks would write them."""
    with Cluster.start(Path(tmp_path_factory.mktemp("agent")), nodes=NODES) as cluster:
        cluster.apply(crds())
        cluster.apply([cluster_object("GPUNode", f"mi300x-{index}", {"product": "MI300X"}) for index in range(NODES)])
        cluster.apply(cluster_object("GPUPool", "default", {}))
        yield cluster


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    with Exporter.start() as running:
        yield running


@pytest.fixture(scope="module")
def agent(cluster: Cluster, exporter: Exporter) -> Iterator[Agent]:
    told = {"INFERENCE_EXPORTER_PORT": str(exporter.port), "INFERENCE_EXPORTER_NAMESPACE": EXPORTERS}
    settings = read_settings() | told
    with Agent.start(cluster, settings) as running:
        yield running


@pytest.fixture
def place(cluster: Cluster, agent: Agent) -> Iterator[Place]:
    """A fresh namespace under the running agent; its pods are removed afterwards."""
    place = Place(cluster, f"agent-{next(_numbers)}")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}})
    cluster.wait_for("v1", "ServiceAccount", "default", place.namespace, lambda _: True)
    yield place
    place.clear()
    agent.check()


def agent_writes(cluster: Cluster, since: Any) -> list[AuditEvent]:
    """What the agents wrote since then, but for the lease and heartbeats."""
    return [
        it
        for it in cluster.audit_writes(since)
        if it.user == USER and it.resource not in ("leases.coordination.k8s.io", "gpupools.inference.ai")
    ]


def settled(cluster: Cluster) -> None:
    """Wait until the agents have had nothing to write for a while."""

    def quiet() -> bool:
        since = cluster.now()
        time.sleep(4)
        return not agent_writes(cluster, since)

    wait_until(quiet, "the agent has nothing more to write")


def test_gated_pods_of_groups_land_exactly_on_their_nodes(place: Place) -> None:
    expected = {(0, 0): "mi300x-3", (0, 1): "mi300x-1", (1, 0): "mi300x-2", (1, 1): "mi300x-0"}
    place.request(pods=2)
    for group, worker in expected:
        place.grouped(group, worker)
    place.allocate(expected, phase="Proposed")
    time.sleep(1)
    assert set(place.nodes().values()) == {""}, "a proposal binds nobody"
    place.allocate(expected)
    place.wait_nodes({f"llama-{group}-{worker}": node for (group, worker), node in expected.items()})
    wait_until(lambda: len(place.status().get("pods", [])) == 4, "all are reported")
    told = {(it["group"], it["worker"]): it["node"] for it in place.status()["pods"]}
    assert told == expected
    assert (place.status()["groups"], place.status()["poolExists"]) == (2, True)


def test_a_group_that_is_not_placed_stays_gated_and_that_is_no_failure(place: Place) -> None:
    place.request()
    place.grouped(0, 0)
    place.grouped(1, 0)
    place.allocate({(0, 0): "mi300x-2"})
    place.wait_nodes({"llama-0-0": "mi300x-2", "llama-1-0": ""})
    wait_until(lambda: place.status().get("groups") == 2, "both groups are counted")
    assert place.status()["failures"] == []


def test_pods_that_are_not_ours_are_never_touched(place: Place) -> None:
    place.allocate({(0, 0): "mi300x-2"}, name="stranger")
    place.pod("stranger", labels={"app": "stranger"}, gated=True)
    place.pod("no-request", labels=service_labels(), gated=True)
    since = place.cluster.now()
    time.sleep(2)
    assert [it for it in agent_writes(place.cluster, since) if it.resource == "pods"] == []
    assert set(place.nodes().values()) == {""}


def test_pods_of_a_deployment_share_out_the_places_and_keep_them(place: Place) -> None:
    places = {(0, 0): "mi300x-1", (1, 0): "mi300x-2", (2, 0): "mi300x-3"}
    place.request()
    place.allocate(places)
    template = {"metadata": {"labels": service_labels()}, "spec": pod_spec(gated=True)}
    spec = {"replicas": 3, "selector": {"matchLabels": service_labels()}, "template": template}
    place.apply("Deployment", "llama-leader", spec, api="apps/v1")
    wait_until(lambda: sorted(place.nodes().values()) == sorted(places.values()), "each has a place of its own")
    before = place.nodes()
    lost = min(before)
    place.cluster.delete("v1", "Pod", lost, place.namespace)
    wait_until(
        lambda: lost not in place.nodes() and sorted(place.nodes().values()) == sorted(places.values()),
        "the new pod takes the place of the lost one",
    )
    after = place.nodes()
    assert {name: node for name, node in before.items() if name != lost}.items() <= after.items()
    wait_until(
        lambda: {it["name"]: it["node"] for it in place.status().get("pods", [])} == after, "the new pod is reported"
    )
    assert {(it["group"], it["worker"]): it["node"] for it in place.status()["pods"]} == places


def test_devices_that_the_exporter_of_a_node_names_are_in_the_allocation(place: Place, exporter: Exporter) -> None:
    place.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EXPORTERS}})
    place.cluster.wait_for("v1", "ServiceAccount", "default", EXPORTERS, lambda _: True)
    spec = pod_spec(0) | {"nodeSelector": {"kubernetes.io/hostname": "mi300x-1"}}
    amd = Place(place.cluster, EXPORTERS)
    for one in (place, amd):
        one.apply("Pod", "exporter", spec, api="v1", labels={"app.kubernetes.io/name": "metrics-exporter"})
        one.cluster.wait_for("v1", "Pod", "exporter", one.namespace, lambda it: it["status"]["phase"] == "Running")
    amd.play("exporter", {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]})
    place.play("exporter", {"podIP": "127.0.0.2", "podIPs": [{"ip": "127.0.0.2"}]})  # nobody listens there
    exporter.holders = dict.fromkeys((3, 5), (place.namespace, "llama-0-0"))
    place.request()
    place.grouped(0, 0)
    place.grouped(1, 0)
    place.allocate({(0, 0): "mi300x-1", (1, 0): "mi300x-2"})

    def devices() -> list[Object]:
        found = place.cluster.get(API, "GPUAllocation", "llama", place.namespace) or {}
        told: list[Object] = found.get("status", {}).get("devices", [])
        return told

    wait_until(lambda: bool(devices()), "the devices are told")
    pod = place.cluster.get("v1", "Pod", "llama-0-0", place.namespace)
    assert pod is not None
    about = {"pod": "llama-0-0", "podUid": pod["metadata"]["uid"], "group": 0, "worker": 0, "node": "mi300x-1"}
    assert devices() == [about | {"device": str(gpu), "serialNumber": f"PCB{gpu:04}"} for gpu in (3, 5)], (
        "the group on mi300x-2 has no exporter"
    )
    settled(place.cluster)
    asked = exporter.asked
    time.sleep(13)
    assert exporter.asked == asked, "each pod is asked for once"
    place.cluster.delete("v1", "Pod", "llama-0-0", place.namespace)
    wait_until(lambda: devices() == [], "a pod that is gone holds none")


def test_foreign_pods_are_counted_apart_from_services_and_given_back(place: Place) -> None:
    place.request()
    place.allocate({(0, 0): "mi300x-0"})
    place.grouped(0, 0)
    place.wait_nodes({"llama-0-0": "mi300x-0"})
    foreign = pod_spec(3) | {"nodeSelector": {"kubernetes.io/hostname": "mi300x-0"}}
    place.apply("Pod", "notebook", foreign, api="v1")
    place.wait_use("mi300x-0", ours={"llama": 2}, others=3)
    place.cluster.delete("v1", "Pod", "notebook", place.namespace)
    place.wait_use("mi300x-0", ours={"llama": 2}, others=0)


def test_a_pod_that_fits_nowhere_says_so(place: Place) -> None:
    place.request(gpus=16)
    place.pod("llama-0", gpus=16, labels=service_labels())
    failure = place.wait_failure("llama-0", "Unschedulable")
    assert f"{NODES} Insufficient amd.com/gpu" in failure["message"]
    assert failure["error"] == "Resource"


WAITING = {"name": "leader", "image": "registry.example/leader:v1", "imageID": "", "ready": False, "restartCount": 0}


def test_what_kubelet_says_of_a_pod_reaches_its_request_and_goes_when_it_is_over(place: Place) -> None:
    place.request()
    place.grouped(0, 0)
    pulling = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.example/leader:v1"'}
    place.play("llama-0-0", {"containerStatuses": [WAITING | {"state": {"waiting": pulling}}]})
    assert place.wait_failure("llama-0-0", "ImagePull")["error"] == "External"
    ended = {"exitCode": 1, "reason": "Error", "message": "ValueError: no such model"}
    looping = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
    place.play("llama-0-0", {"containerStatuses": [WAITING | looping]})
    crash = place.wait_failure("llama-0-0", "CrashLoop")
    assert "exit code 1: ValueError: no such model" in crash["message"]
    place.allocate({(0, 0): "mi300x-1"})
    place.play("llama-0-0", {"containerStatuses": [WAITING | {"state": {"waiting": {"reason": "ContainerCreating"}}}]})
    wait_until(lambda: place.status().get("failures") == [], "the failure is over")


def test_a_backoff_that_goes_on_writes_nothing_more(place: Place) -> None:
    place.request()
    place.grouped(0, 0)
    cause = "dial tcp 10.0.0.1:443: i/o timeout"
    words = [("ErrImagePull", cause), ("ImagePullBackOff", f'Back-off pulling image "x": ErrImagePull: {cause}')]

    def say(reason: str, message: str) -> None:
        state = {"waiting": {"reason": reason, "message": message}}
        place.play("llama-0-0", {"containerStatuses": [WAITING | {"state": state}]})

    say(*words[0])
    place.wait_failure("llama-0-0", "ImagePull")
    settled(place.cluster)
    since = place.cluster.now()
    for reason, message in words * 3:
        say(reason, message)
        time.sleep(0.4)
    assert agent_writes(place.cluster, since) == []


def test_loading_times_come_from_the_leader(place: Place) -> None:
    place.request()
    place.allocate({(0, 0): "mi300x-1"})
    place.grouped(0, 0)
    wait_until(lambda: "loadedAt" in place.status(), "the leader is loaded")
    pod = place.cluster.get("v1", "Pod", "llama-0-0", place.namespace)
    assert pod is not None
    ready = next(it for it in pod["status"]["conditions"] if it["type"] == "Ready")
    assert place.status()["loadedAt"] == ready["lastTransitionTime"]
    began = parse_time(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])
    became = parse_time(ready["lastTransitionTime"])
    assert began is not None
    assert became is not None
    assert place.status()["loadSeconds"] == (became - began).total_seconds()


def test_a_node_that_is_not_ready_or_gone_gets_no_pods(place: Place) -> None:
    place.cluster.api.create(place.cluster.api.resource("v1", kind="Node"), build_node(9))
    lost = {"product": "MI300X", "notReadySince": "2026-01-01T00:00:00Z"}
    place.cluster.apply(cluster_object("GPUNode", "mi300x-9", lost))
    try:
        place.request()
        place.grouped(0, 0)
        place.grouped(1, 0)
        place.allocate({(0, 0): "mi300x-9", (1, 0): "mi300x-77"})
        time.sleep(1.5)
        assert set(place.nodes().values()) == {""}
        place.allocate({(0, 0): "mi300x-2", (1, 0): "mi300x-3"})
        place.wait_nodes({"llama-0-0": "mi300x-2", "llama-1-0": "mi300x-3"})
    finally:
        place.cluster.delete(API, "GPUNode", "mi300x-9")
        place.cluster.delete("v1", "Node", "mi300x-9")


@pytest.mark.skipif(find_manager() is None, reason="LWS_MANAGER names no manager: the stand-in makes no pods")
def test_groups_of_the_real_leader_worker_set_land_whole_while_scaling(place: Place) -> None:
    expected = {(0, 0): "mi300x-2", (0, 1): "mi300x-0", (1, 0): "mi300x-1", (1, 1): "mi300x-3"}
    place.request(pods=2)
    place.allocate(expected)
    place.apply("LeaderWorkerSet", "llama", lws_spec(replicas=1), api=LWS)
    place.wait_nodes({"llama-0": "mi300x-2", "llama-0-1": "mi300x-0"})
    place.cluster.patch(LWS, "LeaderWorkerSet", "llama", place.namespace, {"spec": {"replicas": 2}})
    place.wait_nodes({"llama-0": "mi300x-2", "llama-0-1": "mi300x-0", "llama-1": "mi300x-1", "llama-1-1": "mi300x-3"})
    wait_until(lambda: len(place.status().get("pods", [])) == 4, "all are reported")
    assert {(it["group"], it["worker"]): it["node"] for it in place.status()["pods"]} == expected


def lws_spec(replicas: int) -> Object:
    def template(worker: int) -> Object:
        return {"metadata": {"labels": service_labels(worker)}, "spec": pod_spec(gated=True)}

    return {
        "replicas": replicas,
        "leaderWorkerTemplate": {
            "size": 2,
            "restartPolicy": "RecreateGroupAfterStart",
            "leaderTemplate": template(0),
            "workerTemplate": template(1),
        },
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"partition": 0, "maxUnavailable": 1, "maxSurge": 0},
        },
        "startupPolicy": "LeaderCreated",
        "networkConfig": {"subdomainPolicy": "UniquePerReplica"},
    }


def test_a_restarted_agent_rebuilds_everything_and_writes_nothing_new(place: Place, agent: Agent) -> None:
    place.request(pods=2)
    place.allocate({(0, 0): "mi300x-0", (0, 1): "mi300x-1"})
    place.grouped(0, 0)
    place.grouped(0, 1)
    place.pod("foreign")
    wait_until(lambda: len(place.status().get("pods", [])) == 2 and "loadedAt" in place.status(), "all is reported")
    settled(place.cluster)
    since = place.cluster.now()
    agent.restart()
    time.sleep(3)
    assert agent_writes(place.cluster, since) == []
    place.pod("late", labels=service_labels())
    wait_until(lambda: len(place.status()["pods"]) == 3, "the new process goes on")


def test_an_idle_agent_writes_its_lease_and_heartbeats_only(place: Place) -> None:
    place.request()
    place.allocate({(0, 0): "mi300x-0"})
    place.grouped(0, 0)
    place.pod("foreign")
    wait_until(lambda: "loadedAt" in place.status(), "all is reported")
    settled(place.cluster)
    since = place.cluster.now()

    def written() -> list[AuditEvent]:
        return [it for it in place.cluster.audit_writes(since) if it.user == USER]

    wait_until(lambda: len(written()) >= 4, "the agent is alive")
    seconds = (place.cluster.now() - since).total_seconds()
    events = written()
    assert {it.resource for it in events} <= {"leases.coordination.k8s.io", "gpupools.inference.ai"}
    beats = [it for it in events if it.resource == "gpupools.inference.ai"]
    assert len(beats) <= 1 + seconds / HEARTBEAT.total_seconds()
    assert len(events) - len(beats) <= 2 + 1.5 * seconds / RETRY_PERIOD


def test_every_write_of_the_agent_is_within_its_rights(place: Place) -> None:
    refused = [it for it in place.cluster.audit_writes() if it.user == USER and it.code in (401, 403)]
    assert refused == []


def test_pools_get_a_heartbeat(place: Place) -> None:
    since = place.cluster.now().replace(microsecond=0)
    place.cluster.apply(cluster_object("GPUPool", "second", {}))
    try:
        found = place.cluster.wait_for(API, "GPUPool", "second", None, lambda it: bool(heartbeat(it)))
        stamped = parse_time(heartbeat(found))
        assert stamped is not None
        assert since <= stamped <= place.cluster.now()
    finally:
        place.cluster.delete(API, "GPUPool", "second")


def heartbeat(pool: Object) -> str:
    annotations: Mapping[str, str] = pool["metadata"].get("annotations") or {}
    return annotations.get("inference.ai/agent-heartbeat", "")


def test_when_the_leader_dies_the_other_replica_takes_over_and_they_never_both_write(
    place: Place, agent: Agent
) -> None:
    cluster = place.cluster
    place.request()
    place.allocate({(0, 0): "mi300x-0", (1, 0): "mi300x-1"})
    with ExitStack() as stack:
        other = stack.enter_context(Agent.start(cluster, name="agent-2"))
        place.grouped(0, 0)
        place.wait_nodes({"llama-0-0": "mi300x-0"})
        settled(cluster)
        first = holder(cluster)
        since = cluster.now()
        agent.kill()
        place.grouped(1, 0)
        place.wait_nodes({"llama-0-0": "mi300x-0", "llama-1-0": "mi300x-1"})
        second = holder(cluster)
        assert second not in ("", first)
        before_takeover = [it for it in agent_writes(cluster, since) if it.at < taken_at(cluster)]
        assert before_takeover == []
        agent.restart()  # and it is ready, for it stands by
        other.stop()
        assert "released the lease" in other.log.read_text(), "it need not run out"
        wait_until(lambda: holder(cluster) not in ("", first, second), "a lease that was let go of is taken")
        place.pod("late", labels=service_labels())
        wait_until(lambda: len(place.status().get("pods", [])) == 3, "the first leads again")


def holder(cluster: Cluster) -> str:
    lease = cluster.get(*LEASE)
    name: str = lease["spec"].get("holderIdentity", "") if lease else ""
    return name


def taken_at(cluster: Cluster) -> Any:
    lease = cluster.get(*LEASE)
    assert lease is not None
    return parse_time(lease["spec"]["acquireTime"])
