"""A cluster of containers, with the published Metacontroller and LeaderWorkerSet, and fake nodes with AMD GPUs.

Kubernetes, Metacontroller, LeaderWorkerSet, hooks and agent run for real, in pods under the RBAC, NetworkPolicies and
admission policies of deploy/. Services' pods, whose images have 20 GB and want GPUs, are played by KWOK on nodes that
exist as far as the API goes. KWOK runs beside the cluster, and only while something is tested.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tools.sandbox.binaries import TOOLS, Tool, ensure_binaries
from tools.sandbox.cluster import STAGES, is_schedulable, wait_until
from tools.sandbox.deployed.install import install, operator_image, parts
from tools.sandbox.deployed.kubectl import CommandError, Kubectl, run
from tools.sandbox.nodes import build_node
from tools.sandbox.operator import PROJECT
from tools.sandbox.process import Process, free_port

CLUSTER = "inference-operator"
FOLDER = PROJECT / "build" / "kind"
KUBECONFIG = FOLDER / "kubeconfig"
KIND = Tool("kind", "sigs.k8s.io/kind", "20 seconds", PROJECT / ".ci" / "tools")
NODES = 4
FAKE = "kwok.x-k8s.io/node"
"""Annotation of nodes that KWOK plays."""
INTERNAL_ADDRESS = "- {type: InternalIP, "
Report = Callable[[str], None]


def up(report: Report = print) -> None:
    """Make the cluster, build the operator's image, and install everything. Raises CommandError."""
    kind = ensure_binaries(report, (KIND,))["kind"]
    try:
        run(["docker", "info"])
    except CommandError as error:
        raise CommandError(f"kind needs a running Docker: {error}") from error
    if CLUSTER in run([kind, "get", "clusters"]).split():
        raise CommandError(f"the kind cluster {CLUSTER} is there already; `make kind-down` removes it")
    FOLDER.mkdir(parents=True, exist_ok=True)
    report("making the cluster")
    run([kind, "create", "cluster", f"--name={CLUSTER}", f"--kubeconfig={KUBECONFIG}", "--wait=5m"])
    kubectl = Kubectl.find(KUBECONFIG)
    image = operator_image(kubectl)
    report(f"building {image}")
    # Attestations make the image an index, of which older versions of `kind load` find parts missing.
    os.environ["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"
    run(["docker", "build", "--file", PROJECT / "images/operator/Dockerfile", "--tag", image, PROJECT])
    run([kind, "load", "docker-image", f"--name={CLUSTER}", image])
    install(kubectl, parts(), report)


def down(report: Report = print) -> None:
    """Remove the cluster with all that is in it; none is no error."""
    kind = ensure_binaries(report, (KIND,))["kind"]
    run([kind, "delete", "cluster", f"--name={CLUSTER}", f"--kubeconfig={KUBECONFIG}"])
    KUBECONFIG.unlink(missing_ok=True)


@contextmanager
def fake_nodes(kubectl: Kubectl, folder: Path = FOLDER) -> Iterator[None]:
    """Nodes of eight MI300X while the block lasts. The cluster's own nodes take no new pods meanwhile.

    Pods of downloads could otherwise go to a real node, and wait there for an image and a volume.
    """
    kwok = ensure_binaries(tools=[tool for tool in TOOLS if tool.name == "kwok"])["kwok"]
    own = [it["metadata"]["name"] for it in kubectl.list("v1", "Node") if not _is_fake(it["metadata"])]
    nodes = [build_node(index) for index in range(NODES)]
    names = [it["metadata"]["name"] for it in nodes]
    with ExitStack() as stack:
        stack.callback(kubectl.run, "uncordon", *own)
        kubectl.run("cordon", *own)
        stack.callback(kubectl.run, "delete", "node", *names, "--ignore-not-found", "--wait=false")
        kubectl.apply(nodes)
        process = Process.start("kwok", _kwok_command(kwok, kubectl, folder), folder / "kwok.log")
        stack.callback(process.stop)
        wait_until(lambda: _all_schedulable(kubectl), "the fake nodes are Ready")
        yield


def _is_fake(metadata: dict[str, object]) -> bool:
    return FAKE in str(metadata.get("annotations"))


def _all_schedulable(kubectl: Kubectl) -> bool:
    fakes = [it for it in kubectl.list("v1", "Node") if _is_fake(it["metadata"])]
    return len(fakes) == NODES and all(is_schedulable(it) for it in fakes)


def _kwok_command(kwok: Path, kubectl: Kubectl, folder: Path) -> list[str]:
    kubeconfig = [f"--kubeconfig={kubectl.kubeconfig}"] if kubectl.kubeconfig else []
    return [
        str(kwok),
        *kubeconfig,
        f"--manage-nodes-with-annotation-selector={FAKE}=fake",
        "--node-lease-duration-seconds=40",
        f"--server-address=127.0.0.1:{free_port()}",
        *(f"--config={stage}" for stage in write_stages(folder)),
    ]


def write_stages(folder: Path) -> list[Path]:
    """The sandbox's stages, but for nodes without an address of their own.

    kind's network plugin sets a route to every node's address, and ends when the kernel refuses one that leads nowhere.
    """
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    written = []
    for stage in sorted(STAGES.glob("*.yaml")):
        lines = stage.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.lstrip().startswith(INTERNAL_ADDRESS)]
        copy = folder / "stages" / stage.name
        copy.write_text("".join(kept))
        written.append(copy)
    return written
