"""What happens to running services: edits, mistakes, upgrades, scaling, neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.world import API, HPA, World, condition, engine_flags, example, group, service
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster, has_condition, wait_until
from tools.sandbox.operator import Operator


def identity(workload: Object) -> tuple[str, int]:
    """Changes when the workload is made anew, or its spec is written."""
    return workload["metadata"]["uid"], workload["metadata"]["generation"]


def test_editing_an_argument_updates_the_workload_in_place(world: World) -> None:
    world.apply(group())
    world.wait_ready()
    before = world.group()
    world.patch("demo", {"spec": {"vllm": {"engineArgs": {"max_num_seqs": 64}}}})
    wait_until(lambda: "--max-num-seqs=64" in engine_flags(world.group()), "the argument arrives")
    assert world.group()["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        pytest.param({"vllm": {"engineArgs": {"max_num_seqs": "many"}}}, "takes a whole number", id="mistyped"),
        pytest.param({"vllm": {"engineArgs": {"nnodes": 4}}}, "cannot be set here", id="owned"),
        pytest.param({"storage": {"modelCache": "missing"}}, "ModelCache missing does not exist", id="cache missing"),
    ],
)
def test_a_broken_edit_leaves_what_runs_and_says_why(world: World, edit: Object, words: str) -> None:
    world.apply(group())
    world.wait_ready()
    world.settled()
    before = identity(world.group())
    world.patch("demo", {"spec": edit})
    found = world.wait_condition("Ready", "False", words)
    assert found["status"]["phase"] == "Degraded"
    assert condition(found, "ServiceReady")["status"] == "True"
    assert identity(world.group()) == before
    assert world.names("v1", "Service") >= {"demo"}


def test_restarts_and_other_settings_change_no_workload(world: World) -> None:
    world.apply(group())
    world.apply(service("single"))
    world.wait_ready()
    world.wait_ready("single")
    world.settled()
    before = [identity(world.group()), identity(world.deployment("single"))]
    settings = world.operator.hooks.settings
    changed = settings | {
        "INFERENCE_LEADER_IMAGE": "elsewhere/leader:v9",
        "INFERENCE_WORKER_IMAGE": "elsewhere/worker:v9",
        "INFERENCE_SUPPLEMENTAL_GROUPS": "44,993",
        "INFERENCE_DRAIN": "10s",
    }
    try:
        world.operator.hooks.restart(changed)
        world.operator.metacontroller.restart()
        world.wait_condition("UpdateAvailable", "True", "inference.ai/replan")
        world.wait_condition("UpdateAvailable", "True", "elsewhere/leader:v9", name="single")
        world.settled()
        assert [identity(world.group()), identity(world.deployment("single"))] == before
        world.patch("single", {"metadata": {"annotations": {"inference.ai/replan": "now"}}})
        wait_until(lambda: identity(world.deployment("single")) != before[1], "the newer decision is taken")
        template = world.deployment("single")["spec"]["template"]
        assert template["spec"]["containers"][0]["image"] == "elsewhere/leader:v9"
    finally:
        world.operator.hooks.restart(settings)
        world.operator.metacontroller.restart()


def test_autoscaling_on_and_off_never_resets_the_groups(world: World) -> None:
    world.apply(service(resources={"totalGpus": 1, "cpuRequest": "1"}, replicas=2))
    world.wait_condition("Healthy", "True", "2 of 2")
    seen = [world.deployment()["spec"]["replicas"]]
    world.patch("demo", {"spec": {"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 4}}})
    wait_until(lambda: "demo" in world.names(HPA, "HorizontalPodAutoscaler"), "the autoscaler is there")
    world.cluster.patch("apps/v1", "Deployment", "demo-leader", world.namespace, {"spec": {"replicas": 3}})
    world.wait_condition("Healthy", "True", "3 of 3")
    world.settled()
    seen.append(world.deployment()["spec"]["replicas"])
    world.patch("demo", {"spec": {"autoscaling": {"enabled": False}, "replicas": None}})
    wait_until(lambda: not world.names(HPA, "HorizontalPodAutoscaler"), "the autoscaler is gone")
    world.settled()
    seen.append(world.deployment()["spec"]["replicas"])
    assert seen == [2, 3, 3]


def test_a_service_born_under_autoscaling_leaves_the_number_to_it(world: World) -> None:
    scaling = {"enabled": True, "minReplicas": 1, "maxReplicas": 4}
    world.apply(group(resources={"totalGpus": 2, "cpuRequest": "1"}, autoscaling=scaling))
    world.wait_ready()
    world.cluster.patch(
        "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "demo", world.namespace, {"spec": {"replicas": 3}}
    )
    world.wait_condition("Healthy", "True", "3 of 3")
    world.settled()
    assert world.group()["spec"]["replicas"] == 3


def test_scaling_by_the_scale_subresource_changes_the_groups(world: World) -> None:
    world.apply(service())
    world.wait_ready()
    world.cluster.patch(
        API, "InferenceService", "demo", world.namespace, {"spec": {"replicas": 2}}, subresource="scale"
    )
    world.wait_condition("Healthy", "True", "2 of 2")


def test_equal_names_in_two_namespaces_never_see_each_other(world: World) -> None:
    other = f"{world.namespace}-other"
    world.create_namespace(other)
    neighbour = World(world.operator, other)
    waiting = service(storage={"modelCache": "weights"})
    world.apply(waiting)
    world.wait_condition("Ready", "False", "ModelCache weights does not exist")
    cache = {
        "apiVersion": API,
        "kind": "ModelCache",
        "metadata": {"name": "weights"},
        "spec": {"modelName": "org/tiny"},
    }
    neighbour.apply(cache)
    neighbour.wait_ready("weights", "ModelCache")
    neighbour.apply(waiting)
    neighbour.wait_ready()
    world.settled()
    assert condition(world.get(API, "InferenceService", "demo"), "Ready")["status"] == "False"
    assert world.names("apps/v1", "Deployment") == set()
    neighbour.remove_services()


def test_a_name_that_is_taken_is_reported_and_left_alone(world: World) -> None:
    taken = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "demo"},
        "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]},
    }
    world.apply(taken)
    world.apply(service())
    world.wait_condition("ChildConflict", "True", "Service demo was not created within 30 s")
    kept = world.get("v1", "Service", "demo")
    assert kept is not None
    assert kept["spec"]["selector"] == {"app": "mine"}


def test_a_service_waits_for_its_cache_and_says_which(world: World) -> None:
    world.apply(example("llama2-7b-service"))
    found = world.wait_condition("Ready", "False", "ModelCache llama2-cache does not exist", name="llama2-7b-service")
    assert condition(found, "Ready")["reason"] == "ModelNotFound"
    assert world.names("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet") == set()


def test_pods_that_the_scheduler_cannot_place_are_waited_for(world: World) -> None:
    """A pool counts GPUs and nothing else; the agent tells what the scheduler says."""
    world.apply(service(resources={"totalGpus": 1, "cpuRequest": "10000"}))
    found = world.wait_condition("Ready", "False", "Insufficient cpu")
    assert found["status"]["phase"] == "Starting"


@pytest.fixture(scope="module")
def without_lws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster where LeaderWorkerSet was never installed."""
    with (
        Cluster.start(Path(tmp_path_factory.mktemp("without-lws")), nodes=1, lws=False) as cluster,
        Operator.start(cluster, lws=False, resync_seconds=5) as running,
    ):
        world = World(running, "without-lws")
        world.create_namespace("without-lws")
        yield world


def test_without_lws_one_node_is_served_and_a_group_says_what_is_missing(without_lws: World) -> None:
    without_lws.apply(example("second-spelling/basic-test"))
    without_lws.apply(example("second-spelling/distributed-test"))
    assert has_condition(without_lws.wait_ready("basic-test"), "Ready")
    found = without_lws.wait_condition("Ready", "False", "install LWS", name="distributed-test")
    assert condition(found, "Ready")["reason"] == "MissingCapability"
    assert found["status"]["phase"] == "Failed"
