"""The whole operator on a cluster: CRDs, controllers, hook service, agent and Metacontroller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.sandbox.agent import Agent
from tools.sandbox.api import Object, read_objects
from tools.sandbox.cluster import Cluster
from tools.sandbox.hooks import Hooks
from tools.sandbox.metacontroller import Metacontroller

PROJECT = Path(__file__).parents[2]
CRDS = PROJECT / "crds"
CONTROLLERS = PROJECT / "metacontroller"
PEOPLE = PROJECT / "deploy" / "base" / "rbac.yaml"
DEFAULT_POOL = PROJECT / "deploy" / "default-pool" / "gpupool.yaml"


@dataclass(frozen=True)
class Operator:
    """What runs, so that tests can restart it."""

    cluster: Cluster
    hooks: Hooks
    agent: Agent
    metacontroller: Metacontroller

    @classmethod
    @contextmanager
    def start(
        cls,
        cluster: Cluster,
        *,
        lws: bool = True,
        settings: Mapping[str, str] | None = None,
        resync_seconds: int | None = None,
        record: Path | None = None,
        pool: bool = True,
    ) -> Iterator[Operator]:
        """Install everything as deploy/ does, and run it until the block is left. `pool`: with the default GPUPool;
        without it services go by their specs."""
        cluster.apply([*crds(), *read_objects(PEOPLE)])
        if pool:
            cluster.apply(DEFAULT_POOL)
        else:
            settings = {"INFERENCE_POOLS": "none", **(settings or {})}
        with (
            Hooks.start(cluster.directory, settings, record) as hooks,
            Agent.start(cluster, settings) as agent,
            Metacontroller.start(cluster, controllers(lws), hooks.url, resync_seconds=resync_seconds) as metacontroller,
        ):
            yield cls(cluster, hooks, agent, metacontroller)

    def check(self) -> None:
        """Raise when one of the processes has died."""
        self.hooks.check()
        self.agent.check()
        self.metacontroller.check()


def crds() -> list[Object]:
    """The CustomResourceDefinitions of the project."""
    return read_objects(CRDS)


def controllers(lws: bool) -> list[Object]:
    """The controllers, with the component for LeaderWorkerSet when the cluster has it."""
    found = read_objects(CONTROLLERS)
    if lws:
        additions = yaml.safe_load((CONTROLLERS / "lws" / "leaderworkersets.yaml").read_text())
        target = next(item for item in found if item["metadata"]["name"] == "inferenceservice")
        target["spec"]["childResources"] += [addition["value"] for addition in additions]
    return found
