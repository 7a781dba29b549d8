"""`kubectl inference plan` against a cluster: what is free, and what an edit would restart."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.api import Object
from sandbox.binaries import KUBECTL, ensure_binaries
from sandbox.cluster import wait_until
from tests.cluster.world import API, World, service

PROGRAM = Path(sys.executable).with_name("kubectl-inference")


@pytest.fixture
def qwen(world: World) -> Object:
    """A service that runs."""
    item = service("demo", model={"name": "Qwen/Qwen3-8B", "maxTokens": 8192}, resources={"totalGpus": 2})
    world.apply(item)
    world.wait_ready()
    return item


def plan(world: World, item: Object, *more: str, plugin: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Exit code and answer; through kubectl itself where its path is given."""
    program = [str(plugin), "inference"] if plugin else [str(PROGRAM)]
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*program, "plan", "-f", "-", "-n", world.namespace, "-o", "json", *more],
        input=yaml.safe_dump(item),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "KUBECONFIG": str(world.cluster.kubeconfig), "PATH": path},
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def edited(item: Object, **spec: Any) -> Object:
    changed = copy.deepcopy(item)
    changed["spec"] |= spec
    return changed


def generations(world: World) -> list[int]:
    found = world.all_of(API, "InferenceService") + world.all_of("apps/v1", "Deployment")
    return [item["metadata"]["generation"] for item in found]


def test_a_running_service_restarts_nothing_and_what_others_hold_is_known(world: World, qwen: Object) -> None:
    code, answer = plan(world, qwen, plugin=ensure_binaries(tools=[KUBECTL])["kubectl"])
    assert (code, answer["outcome"], answer["product"]) == (0, "fit", "MI300X")
    assert answer["effect"] == {"message": "restarts nothing", "restarts": False, "changes": []}
    assert sum(node["gpus"] for node in answer["nodes"]) == 2
    assert answer["foreignUseUnknown"] is False
    nodes = {it["metadata"]["name"] for it in world.cluster.list("v1", "Node")}
    assert sum(answer["excluded"].values()) + len(answer["nodes"]) == len(nodes)


def test_an_edit_says_what_it_restarts_and_changes_nothing(world: World, qwen: Object) -> None:
    before = generations(world)
    code, answer = plan(world, edited(qwen, resources={"totalGpus": 4}))
    assert code == 0
    effect = answer["effect"]
    assert effect["restarts"] is True
    assert effect["message"] == "restarts the 1 pod of Deployment demo-leader, one group at a time"
    assert any("amd.com/gpu: 2 -> 4" in change for change in effect["changes"]), effect["changes"]
    assert answer["pipelineParallel"] == 4
    assert generations(world) == before
    world.apply(edited(qwen, resources={"totalGpus": 4}))
    wait_until(lambda: gpus(world) == "4", "the pods are made anew with four GPUs", timeout=60)


def gpus(world: World) -> str:
    [container] = world.deployment()["spec"]["template"]["spec"]["containers"]
    return str(container["resources"]["limits"]["amd.com/gpu"])


def test_edits_that_no_pod_depends_on_restart_nothing(world: World, qwen: Object) -> None:
    _, scaled = plan(world, edited(qwen, replicas=2))
    assert scaled["effect"]["restarts"] is False
    assert scaled["effect"]["message"] == "restarts nothing; scales Deployment demo-leader from 1 to 2 groups"
    _, port = plan(world, edited(qwen, networking={"ports": {"http": 9000}}))
    assert port["effect"]["message"] == "restarts nothing"


def test_what_cannot_be_applied_leaves_what_runs(world: World, qwen: Object) -> None:
    code, answer = plan(world, edited(qwen, model={"name": "meta-llama/Llama-3.1-405B-Instruct"}))
    assert (code, answer["outcome"]) == (3, "impossible")
    assert answer["effect"]["message"] == (
        "what runs goes on unchanged: Deployment demo-leader; the edit cannot be applied"
    )


def test_the_plan_is_what_happens(world: World) -> None:
    """Two services: what is planned for the second, beside the first, is what it then gets."""
    first = service("first", model={"name": "Qwen/Qwen3-8B"}, resources={"totalGpus": 8})
    world.apply(first)
    world.wait_ready("first")
    second = service("second", model={"name": "Qwen/Qwen3-8B"}, resources={"totalGpus": 8})
    code, answer = plan(world, second)
    assert (code, answer["effect"]["message"]) == (0, "nothing of it runs yet, so nothing restarts")
    world.apply(second)
    world.wait_ready("second")
    allocation = world.get(API, "GPUAllocation", "second")
    assert allocation is not None
    assert {gpu["node"] for gpu in allocation["spec"]["gpus"]} == {node["name"] for node in answer["nodes"]}
