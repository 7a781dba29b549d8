"""kubelet, kube-proxy and CoreDNS in the machine: a node that runs pods."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.sandbox.binaries import NODE_TOOLS, find_binaries
from tools.sandbox.cluster import Cluster, is_schedulable
from tools.sandbox.node import addresses, config
from tools.sandbox.node.machine import Machine
from tools.sandbox.nodes import PRODUCTS, labeller_labels
from tools.sandbox.process import PATIENCE_SECONDS, Process

GPUS = 8
GPU_RESOURCE = "amd.com/gpu"
CONTEXT = "sandbox"
"""The context in our kubeconfigs."""
Argv = list[str | Path]


@dataclass(frozen=True)
class Node:
    """The running node."""

    cluster: Cluster
    machine: Machine
    processes: tuple[Process, ...]

    @classmethod
    @contextmanager
    def start(cls, cluster: Cluster, machine: Machine, gpus: int = GPUS) -> Iterator[Node]:
        """Run until the block is left. containerd must run already."""
        binaries = find_binaries(NODE_TOOLS)
        kubeconfig, directory = cluster.kubeconfig, machine.directory
        config.write_network(directory)
        kubelet: Argv = [
            binaries["kubelet"],
            f"--config={config.write_kubelet(directory)}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={config.NODE_NAME}",
            f"--root-dir={directory / 'kubelet'}",
            f"--node-ip={addresses.NODE}",
        ]
        proxy: Argv = [binaries["kube-proxy"], f"--config={config.write_proxy(directory, kubeconfig)}"]
        names: Argv = [binaries["coredns"], "-conf", config.write_dns(directory, kubeconfig, CONTEXT)]
        processes: list[Process] = []
        try:
            for name, argv in (("kubelet", kubelet), ("kube-proxy", proxy), ("coredns", names)):
                processes.append(machine.start(name, argv))
            node = cls(cluster, machine, tuple(processes))
            node._become_ready(gpus)
            yield node
        finally:
            for process in reversed(processes):
                process.stop(0)

    def check(self) -> None:
        """Raise when one of the node's programs has died."""
        for process in self.processes:
            process.check()

    def advertise(self, gpus: int) -> None:
        """What AMD's device plugin and node labeller would say. A kubelet that starts anew forgets the count."""
        amounts = {GPU_RESOURCE: str(gpus)}
        labels = {"accelerator": "amd-gpu", **labeller_labels(PRODUCTS["MI300X"], gpus)}
        patch = partial(self.cluster.patch, "v1", "Node", config.NODE_NAME, None)
        patch({"metadata": {"labels": labels}})
        patch({"status": {"capacity": amounts, "allocatable": amounts}}, subresource="status")

    def _become_ready(self, gpus: int) -> None:
        kubelet = self.processes[0]
        kubelet.wait_until(self._registered, PATIENCE_SECONDS)
        self.advertise(gpus)
        self.cluster.wait_for("v1", "Node", config.NODE_NAME, None, is_schedulable, describe="Ready")

    def _registered(self) -> bool:
        self.check()
        return self.cluster.get("v1", "Node", config.NODE_NAME) is not None

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        """What a container wrote, as `kubectl logs` asks the kubelet for it."""
        suffix = "?previous=true" if previous else ""
        url = f"http://{addresses.NODE}:{config.KUBELET_PORT}/containerLogs/{namespace}/{pod}/{container}{suffix}"
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode(errors="replace"))
        return ""
