"""What helps to find out why a step failed: logs of pods and programs, events, objects, in one folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from tools.sandbox.api import Object
from tools.sandbox.node.world import World
from tools.sandbox.story.kubectl import kubectl

KINDS = "all,pvc,pv,nodes,jobs,leaderworkersets,amd-inference,amd-gpus,networkpolicies"


def collect(world: World, folder: Path) -> Path:
    """Fill `folder`, which must not exist; what cannot be had is left out, with the reason in its place."""
    folder.mkdir(parents=True)
    for directory, name in ((world.cluster.directory, "control-plane"), (world.node.machine.directory, "node")):
        (folder / name).mkdir()
        for log in directory.glob("*.log"):
            shutil.copy(log, folder / name)
    (folder / "summary.txt").write_text(_try(world, "get", KINDS, "-A", "-o", "wide"))
    (folder / "events.txt").write_text(_try(world, "get", "events", "-A", "--sort-by=.lastTimestamp"))
    (folder / "objects.yaml").write_text(_try(world, "get", KINDS, "-A", "-o", "yaml"))
    pods = world.cluster.list("v1", "Pod")
    for pod in pods:
        _write_logs(world, pod, folder / "pods")
    (folder / "conditions.txt").write_text("\n".join(_conditions(world)) + "\n")
    return folder


def _write_logs(world: World, pod: Object, folder: Path) -> None:
    """Of this run of each container, and of the one before when it was restarted."""
    folder.mkdir(exist_ok=True)
    metadata = pod["metadata"]
    for status in pod["status"].get("containerStatuses") or []:
        stem = f"{metadata['namespace']}.{metadata['name']}.{status['name']}"
        arguments = (metadata["namespace"], metadata["name"], status["name"])
        (folder / f"{stem}.log").write_text(world.node.log(*arguments))
        if status["restartCount"]:
            (folder / f"{stem}.previous.log").write_text(world.node.log(*arguments, previous=True))


def _conditions(world: World) -> list[str]:
    """A line a condition of every object of ours."""
    found = yaml.safe_load(_try(world, "get", "amd-inference,amd-gpus", "-A", "-o", "yaml")) or {}
    return [
        f"{item['kind']} {item['metadata']['name']}: {it['type']}={it['status']} {it['reason']}: {it['message']}"
        for item in (found.get("items") or [] if isinstance(found, dict) else [])
        for it in item.get("status", {}).get("conditions") or []
    ]


def _try(world: World, *argv: str) -> str:
    try:
        return kubectl(world, *argv)
    except AssertionError as error:
        return f"# {error}\n"
