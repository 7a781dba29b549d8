"""The scale subresource answers for every service, whatever its spec leaves out."""

from __future__ import annotations

from typing import Any

from tests.cluster.world import API, HPA, World, condition, group, service
from tools.sandbox.api import Object
from tools.sandbox.cluster import wait_until

PATH = "/apis/inference.ai/v1alpha1/namespaces/{namespace}/inferenceservices/demo/scale"


def scale(world: World) -> Object:
    return dict(world.cluster.api.request("GET", PATH.format(namespace=world.namespace)))


def scale_to(world: World, replicas: int) -> None:
    body: dict[str, Any] = {"spec": {"replicas": replicas}}
    world.cluster.patch(API, "InferenceService", "demo", world.namespace, body, subresource="scale")


def test_scale_answers_where_replicas_was_left_out(world: World) -> None:
    world.apply(service())
    assert scale(world)["spec"]["replicas"] == 1
    world.wait_ready()
    scale_to(world, 2)
    world.wait_condition("Healthy", "True", "2 of 2")
    assert scale(world)["spec"]["replicas"] == scale(world)["status"]["replicas"] == 2
    scale_to(world, 1)
    wait_until(lambda: scale(world)["status"]["replicas"] == 1, "one group is left")


def test_scale_answers_under_the_services_own_autoscaler(world: World) -> None:
    scaling = {"enabled": True, "maxReplicas": 3}
    world.apply(group(resources={"totalGpus": 2, "cpuRequest": "1"}, autoscaling=scaling))
    assert scale(world)["spec"]["replicas"] == 1
    ready = world.wait_ready()
    assert "ignored while autoscaling" not in condition(ready, "Ready")["message"]


def test_an_autoscaler_of_the_users_own_reads_the_scale_of_the_service(world: World) -> None:
    world.apply(service())
    world.wait_ready()
    target = {"apiVersion": API, "kind": "InferenceService", "name": "demo"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    spec = {"scaleTargetRef": target, "maxReplicas": 2, "metrics": [{"type": "Resource", "resource": cpu}]}
    world.apply({"apiVersion": HPA, "kind": "HorizontalPodAutoscaler", "metadata": {"name": "theirs"}, "spec": spec})

    def reads() -> bool:
        found = condition(world.get(HPA, "HorizontalPodAutoscaler", "theirs"), "AbleToScale")
        return found.get("status") == "True" and found.get("reason") == "SucceededGetScale"

    wait_until(reads, "the autoscaler has read the scale")
