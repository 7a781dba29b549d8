"""`python -m tests.bench.agent_live`: the agent's process against a real API server full of other people's pods.

Nodes, GPUNodes and pods are plain objects: no kubelet plays them, for that would be most of the load. Measured are the
time to the first complete picture, and then, while pods come and go, CPU, memory and writes. Figures are of this
machine only, which runs the API server, etcd and the agent side by side.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.__main__ import cpu_seconds, machine, resident_mib
from tools.sandbox.agent import USER, Agent
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster
from tools.sandbox.hooks import PROJECT

API = "inference.ai/v1alpha1"
GPU = "amd.com/gpu"
WRITERS = 8


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.agent_live", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000, help="GPU nodes (default: 1000)")
    parser.add_argument("--pods", type=int, default=20000, help="pods of others (default: 20000)")
    parser.add_argument("--churn", type=int, default=100, help="pods replaced in the measured time (default: 100)")
    parser.add_argument("--seconds", type=int, default=60, help="measured time (default: 60)")
    arguments = parser.parse_args(argv)
    print(
        f"machine: {machine()}, {arguments.nodes} GPU nodes, {arguments.pods} pods of others, every eighth with a GPU"
    )
    with tempfile.TemporaryDirectory() as folder, Cluster.start(Path(folder), nodes=0) as cluster:
        cluster.apply(PROJECT / "crds")
        fill(cluster, arguments.nodes, arguments.pods)
        measure(cluster, arguments)
    return 0


def fill(cluster: Cluster, nodes: int, pods: int) -> None:
    begun = time.monotonic()
    write(cluster, (build_node(it) for it in range(nodes)))
    write(cluster, (build_gpu_node(it) for it in range(nodes)))
    write(cluster, (build_pod(it, nodes) for it in range(pods)))
    print(f"filled in {time.monotonic() - begun:.0f} s")


def measure(cluster: Cluster, arguments: argparse.Namespace) -> None:
    since = cluster.now()
    begun = time.monotonic()
    with Agent.start(cluster) as agent:
        wait(lambda: counted(cluster) == arguments.nodes, agent)
        first = time.monotonic() - begun
        so_far = f"{cpu_seconds(agent.pid):.1f} s of CPU, {resident_mib(agent.pid):.0f} MiB"
        print(f"first picture: {first:.1f} s, {so_far}, {writes(cluster, since)}")
        since, before = cluster.now(), cpu_seconds(agent.pid)
        churn(cluster, arguments)
        used = cpu_seconds(agent.pid) - before
        print(
            f"{arguments.seconds} s with {arguments.churn} pods replaced: {100 * used / arguments.seconds:.1f} % of a "
            f"core, {resident_mib(agent.pid):.0f} MiB, {writes(cluster, since)}"
        )


def churn(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """Pods that hold a GPU go, and others come on other nodes, evenly over the time."""
    end = time.monotonic() + arguments.seconds
    for number in range(arguments.churn):
        cluster.delete("v1", "Pod", f"p{8 * number}", "default")
        write(cluster, [build_pod(arguments.pods + 8 * (number + 13), arguments.nodes)])
        left = end - time.monotonic()
        time.sleep(max(0.0, left / (arguments.churn - number)))


def counted(cluster: Cluster) -> int:
    """GPUNodes that the agent has counted."""
    return sum(bool((it.get("status") or {}).get("observed")) for it in cluster.list(API, "GPUNode"))


def writes(cluster: Cluster, since: object) -> str:
    found = Counter(it.resource for it in cluster.audit_writes(since) if it.user == USER)  # type: ignore[arg-type]
    return "writes: " + (", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "none")


def wait(ready: Callable[[], bool], agent: Agent, timeout: float = 300) -> None:
    end = time.monotonic() + timeout
    while not ready():
        agent.check()
        if time.monotonic() > end:
            raise TimeoutError(f"the agent has no complete picture after {timeout:.0f} s; its log: {agent.log}")
        time.sleep(0.5)


def write(cluster: Cluster, objects: Iterable[Object]) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        list(
            pool.map(
                lambda it: cluster.api.create(cluster.api.resource(it["apiVersion"], kind=it["kind"]), it), objects
            )
        )


def build_node(number: int) -> Object:
    amounts = {"cpu": "192", "memory": "2Ti", "pods": "110", GPU: "8"}
    name = f"n{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def build_gpu_node(number: int) -> Object:
    offered = {"name": GPU, "gpus": 8, "capacity": 8}
    spec = {"product": "MI300X", "source": "device-id", "resources": [offered]}
    return {"apiVersion": API, "kind": "GPUNode", "metadata": {"name": f"n{number}"}, "spec": spec}


def build_pod(number: int, nodes: int) -> Object:
    limits = {"limits": {GPU: "1"}} if number % 8 == 0 else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{number}", "namespace": "default"},
        "spec": {
            "nodeName": f"n{number % nodes}",
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "work", "image": "registry.example/work:1", "resources": limits}],
        },
    }


if __name__ == "__main__":
    sys.exit(main())
