"""Everything of the real thing in one: machine, images, control plane, node, volumes, model hub and operator."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.api import Object
from tools.sandbox.binaries import KUBECTL, NODE_TOOLS, TOOLS, ensure_binaries
from tools.sandbox.cluster import Cluster
from tools.sandbox.controlplane import Network
from tools.sandbox.hub import Hub
from tools.sandbox.node import addresses
from tools.sandbox.node.build import Builder
from tools.sandbox.node.containers import Containers
from tools.sandbox.node.groups import Groups
from tools.sandbox.node.install import Installed, install
from tools.sandbox.node.machine import Machine
from tools.sandbox.node.node import Node
from tools.sandbox.node.packages import ensure_packages
from tools.sandbox.node.project import names_in_deploy, recipes
from tools.sandbox.node.provisioner import Provisioner
from tools.sandbox.tinymodel import write_model

MODEL = "sandbox/tiny-llama"
BYTES_PER_SECOND = 192 * 1024
"""So that 5 MB take half a minute: the downloader reports every ten seconds."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class World:
    """What runs; the story acts on it."""

    cluster: Cluster
    node: Node
    containers: Containers
    hub: Hub
    volumes: Provisioner
    operator: Installed
    kubectl: Path

    def check(self) -> None:
        """Raise when one of the programs has died."""
        self.cluster.check()
        self.node.check()
        self.operator.check()

    def kill_container(self, pod: Object) -> None:
        """End the first container of a pod as the kernel does when memory is short."""
        self.containers.kill(_container_id(pod))

    def processes(self, pod: Object) -> set[str]:
        """Names of the programs that run in the first container of a pod."""
        return self.containers.programs(_container_id(pod))

    @classmethod
    @contextmanager
    def start(cls, report: Report = print) -> Iterator[World]:
        """Run until the block is left; then nothing is left but the cache."""
        ensure_packages(report)
        binaries = ensure_binaries(report, (*TOOLS, KUBECTL, *NODE_TOOLS))
        directory = Path(tempfile.mkdtemp(prefix="inference-node-"))
        with ExitStack() as stack:
            machine = stack.enter_context(Machine.boot(directory))
            containers = Containers(machine)
            images = ensure_images(containers, report)
            network = Network(addresses.HOST, addresses.SERVICES)
            control = Cluster.start(directory / "control", network=network, fake=False, report=report)
            cluster = stack.enter_context(control)
            stack.enter_context(containers.running(cri=True))
            node = stack.enter_context(Node.start(cluster, machine))
            report("a real node is ready")
            volumes = stack.enter_context(Provisioner.running(cluster, directory / "volumes"))
            repositories = {MODEL: write_model(directory / "model")}
            hub = stack.enter_context(Hub.serve(repositories, addresses.HOST, bytes_per_second=BYTES_PER_SECOND))
            stack.enter_context(nullcontext() if os.environ.get("LWS_MANAGER") else Groups.running(cluster))
            kubectl = binaries[KUBECTL.name]
            mirror = {"INFERENCE_DOWNLOADER_ENV": json.dumps({"HF_ENDPOINT": hub.url})}
            operator = stack.enter_context(install(cluster, kubectl, directory / "deploy", images, mirror))
            report("the operator runs from deploy/")
            yield cls(cluster, node, containers, hub, volumes, operator, kubectl)


def _container_id(pod: Object) -> str:
    return str(pod["status"]["containerStatuses"][0]["containerID"]).removeprefix("containerd://")


def ensure_images(containers: Containers, report: Report) -> dict[str, str]:
    """Build and import what is missing; the references by the names that deploy/ gives the images."""
    begun = time.monotonic()
    bases, ours = recipes()
    builder = Builder(report)
    for recipe in (*bases, *ours):
        builder.ensure(recipe)
    images = names_in_deploy(ours)
    with containers.running(cri=False):
        containers.forget_pods()
        containers.ensure_pause_image()
        whole = [recipe.reference for recipe in bases]
        containers.ensure_images(builder, whole, list(images.values()), report)
        containers.forget_images([*whole, *images.values()])
    builder.forget({*whole, *images.values()})
    report(f"images are there after {time.monotonic() - begun:.0f} s")
    return images
