"""`kubectl inference plan` on a real API server: what runs, what a change would restart, and nothing is changed."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.world import World, gpus, service
from tools.sandbox.api import Object
from tools.sandbox.binaries import KUBECTL, ensure_binaries
from tools.sandbox.cluster import wait_until

SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class Plugin:
    """The console script as kubectl starts it."""

    world: World
    folder: Path

    def run(self, item: Object, *options: str) -> subprocess.CompletedProcess[str]:
        file = self.folder / "service.yaml"
        file.write_text(yaml.safe_dump(item))
        kubectl = ensure_binaries(tools=[KUBECTL])["kubectl"]
        env = {
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": str(self.world.cluster.kubeconfig),
            "HOME": str(self.folder),
            **self.world.operator.hooks.settings,
        }
        command = [str(kubectl), "inference", "plan", "-f", str(file), "-n", self.world.namespace, *options]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)

    def answer(self, item: Object) -> dict[str, Any]:
        done = self.run(item, "-o", "json")
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def plugin(world: World, tmp_path: Path) -> Plugin:
    return Plugin(world, tmp_path)


def test_a_running_service_and_its_edits_are_told_apart_without_a_write(world: World, plugin: Plugin) -> None:
    item = service(model={"name": "Qwen/Qwen3-8B", "maxTokens": 8192})
    world.apply(item)
    world.wait_ready()
    before = world.get("apps/v1", "Deployment", "demo-leader"), world.get(item["apiVersion"], item["kind"], "demo")

    same = plugin.answer(item)
    assert (same["outcome"], same["product"], same["maxModelLen"]) == ("fit", "MI300X", 8192)
    assert same["running"] == {
        "restarts": False,
        "groups": 0,
        "message": "nothing restarts: the pods are those of this spec",
        "changes": [],
    }
    assert sum(same["excluded"].values()) + len(same["nodes"]) == 4
    assert not any("CEL" in note for note in same["unchecked"])

    longer = plugin.answer(service(model={"name": "Qwen/Qwen3-8B", "maxTokens": 16384}))
    assert longer["outcome"] == "fit"
    assert (longer["running"]["restarts"], longer["running"]["groups"]) == (True, 1)
    assert "1 group would restart, one at a time: template.spec" in longer["running"]["message"]
    assert "--max-model-len=16384" in json.dumps(longer["running"]["changes"])

    wider = plugin.answer(item | {"spec": item["spec"] | {"replicas": 2}})
    assert wider["running"]["message"] == (
        "nothing restarts: the pods are those of this spec; the number of groups goes from 1 to 2"
    )

    too_large = plugin.run(service(model={"name": "meta-llama/Llama-3.1-405B-Instruct"}))
    assert too_large.returncode == 4
    assert "nothing restarts now, what runs goes on: meta-llama/Llama-3.1-405B-Instruct fits no known" in " ".join(
        too_large.stdout.split()
    )
    after = world.get("apps/v1", "Deployment", "demo-leader"), world.get(item["apiVersion"], item["kind"], "demo")
    assert [it["spec"] for it in after if it] == [it["spec"] for it in before if it]


def test_a_running_service_can_be_made_smaller_as_it_was_planned(world: World, plugin: Plugin) -> None:
    """Its pods go only once the pool is certain, and the pool is certain while they still run."""
    world.apply(service(resources={"totalGpus": 2}))
    world.wait_ready()
    smaller = service(resources={"totalGpus": 1})
    planned = plugin.answer(smaller)
    assert (planned["running"]["restarts"], sum(node["gpus"] for node in planned["nodes"])) == (True, 1)
    world.apply(smaller)
    wait_until(lambda: gpus_of(world) == 1, "one GPU")
    world.wait_ready()


def gpus_of(world: World) -> int:
    return gpus(world.deployment()["spec"]["template"])


def test_rules_across_fields_are_those_of_the_api_server(plugin: Plugin) -> None:
    refused = plugin.run(service(resources={"strategy": "dynamic"}))
    assert refused.returncode == 1
    assert "say how many GPUs one group uses: set resources.totalGpus" in refused.stderr


def test_a_pool_that_does_not_exist_is_refused_as_in_the_cluster(plugin: Plugin) -> None:
    answer = plugin.answer(service(resources={"totalGpus": 1, "pool": "elsewhere"}))
    assert answer["outcome"] == "impossible"
    assert answer["reasons"][0].startswith("there is no GPUPool elsewhere: name one that exists in resources.pool")
    assert (answer["nodes"], answer["running"]) == ([], None)
