"""Services that ask one pool: nobody gets a GPU twice, and who waits knows for what."""

from __future__ import annotations

from functools import partial

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec
from app.api.v1alpha1.places import parse_places
from tests.cluster.pools.pool import allocations, granted, phases, pool, wait_phase, watching
from tests.cluster.world import API, World, condition, gpus, service
from tools.sandbox.api import Object
from tools.sandbox.cluster import wait_until


def test_of_fifty_services_at_once_forty_get_the_forty_gpus_and_ten_wait(world: World) -> None:
    with watching(world) as double:
        for number in range(50):
            world.apply(service(f"s{number:02}"))
        wait_until(lambda: phases(world) == {"Bound": 40, "Pending": 10}, "forty are served")
        wait_until(lambda: sum(granted(world).values()) == 40, "all forty are confirmed")
    assert double == []
    wait_until(lambda: line(world) == list(range(1, 11)), "each has its own place in line")
    [first] = [name for name, it in allocations(world).items() if it.get("placeInLine") == 1]
    found = world.wait_condition("GPUAllocated", "False", "place 1 in line", name=first)
    assert condition(found, "GPUAllocated")["reason"] == "InsufficientGPU"
    assert "have 0 free GPUs, fewer than 1" in condition(found, "Ready")["message"]
    assert found["status"]["allocation"]["placeInLine"] == 1
    counts = {"gpus": 40, "free": 0, "allocated": 40, "pending": 10}
    wait_until(lambda: {it: pool(world)["status"].get(it) for it in counts} == counts, f"the pool counts {counts}")
    served = next(name for name, it in allocations(world).items() if it["phase"] == "Bound")
    world.cluster.delete(API, "InferenceService", served, world.namespace)
    wait_phase(world, first, "Bound")
    world.wait_ready(first)


def line(world: World) -> list[int]:
    """The places of those who wait."""
    return sorted(it.get("placeInLine") or 0 for it in allocations(world).values() if it["phase"] == "Pending")


def test_a_running_service_gets_more_and_fewer_gpus_when_it_asks_for_them(world: World) -> None:
    """Its old pods run until the new decision is bound, and the decision does not wait for them to go."""
    world.apply(service(resources={"totalGpus": 2}))
    world.wait_ready()
    for count in (8, 4):
        world.apply(service(resources={"totalGpus": count}))
        wait_until(partial(asks, world, count), f"pods of {count} GPUs")
        found = wait_phase(world, "demo", "Bound")
        assert sum(place.gpus for place in parse_places(GPUAllocationSpec.read(found).gpus).values()) == count
        world.wait_observed()
        world.wait_ready()


def asks(world: World, count: int) -> bool:
    """Whether the pods of the service are to have so many."""
    [container] = world.deployment()["spec"]["template"]["spec"]["containers"]
    return bool(container["resources"]["limits"]["amd.com/gpu"] == str(count))


def test_a_service_that_no_node_could_hold_is_blocked_and_told_why(world: World) -> None:
    world.apply(service(resources={"totalGpus": 16}))
    found = world.wait_condition("Ready", "False", "can never grant this")
    assert found["status"]["phase"] == "Failed"
    assert "A group needs 16 GPUs on one node" in condition(found, "Ready")["message"]
    assert "5 of 5 nodes have 8 GPUs, fewer than 16" in condition(found, "Ready")["message"]


def test_a_model_that_fits_nowhere_is_blocked_with_the_numbers_and_what_would_do(world: World) -> None:
    model = {"name": "meta-llama/Llama-3.1-405B-Instruct"}
    world.apply(service(model=model, resources={"totalGpus": 1}))
    found = world.wait_condition("Ready", "False", "it would fit on")
    message = condition(found, "Ready")["message"]
    assert "GiB a GPU" in message
    assert condition(found, "GPUAllocated")["reason"] == "InsufficientGPU"
    assert world.names(API, "GPURequest") == set()


def test_a_known_model_gets_a_shape_a_product_and_a_length(world: World) -> None:
    model = {"name": "meta-llama/Llama-3.1-70B-Instruct"}
    world.apply(service(model=model, resources={"totalGpus": 2, "autoOptimize": True}))
    status = world.wait_ready()["status"]["allocation"]
    assert (status["product"], status["phase"], status["pool"]) == ("MI300X", "Bound", "default")
    assert "for the KV cache" in status["memory"]
    template = world.deployment()["spec"]["template"]["spec"]
    [flag] = [it for it in template["containers"][0]["args"] if it.startswith("--max-model-len=")]
    assert int(flag.partition("=")[2]) == status["maxModelLen"]
    terms = template["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {"key": "inference.ai/gpu-product", "operator": "In", "values": ["MI300X"]} in terms[0]["matchExpressions"]


def test_exclusive_services_share_a_node_with_nobody(world: World) -> None:
    world.apply(service("alone", resources={"totalGpus": 2, "sharing": "exclusive"}))
    world.wait_ready("alone")
    for number in range(4):
        world.apply(service(f"full-{number}", resources={"totalGpus": 8}))
        world.wait_ready(f"full-{number}")
    world.apply(service("late", resources={"totalGpus": 2}))
    late = wait_phase(world, "late", "Pending")
    assert "1 of 5 nodes is held by a service for itself" in late["message"]
    pods = [it for it in world.all_of("v1", "Pod") if it["metadata"]["name"].startswith("alone-")]
    [host] = {it["spec"]["nodeName"] for it in pods}
    assert {it["metadata"]["labels"]["inference.ai/service"] for it in placed_on(world, host)} == {"alone"}


def placed_on(world: World, node: str) -> list[Object]:
    return [it for it in world.all_of("v1", "Pod") if gpus(it) and it["spec"].get("nodeName") == node]


def test_services_that_read_one_volume_and_come_together_get_one_node(world: World) -> None:
    """Five of eight GPUs each: only one of them fits on a node, and the other never goes to another one."""
    cache = {"modelName": "org/tiny", "accessMode": "ReadWriteOnce"}
    world.apply({"apiVersion": API, "kind": "ModelCache", "metadata": {"name": "m"}, "spec": cache})
    for name, count in (("a", 3), ("b", 5), ("c", 5)):
        world.apply(service(name, resources={"totalGpus": count}, storage={"modelCache": "m"}))
    wait_until(lambda: phases(world) == {"Bound": 2, "Pending": 1}, "two fit on one node")
    assert len(granted(world)) == 1
    waiting = next(name for name, it in allocations(world).items() if it["phase"] == "Pending")
    world.wait_condition("Ready", "False", "m-cache is ReadWriteOnce", name=waiting)
