"""GPUs in use on each node: counts of what is bound there, by service and by others -> GPUNode.status."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from app.agent.patch import Patch, Target, plan_statuses
from app.agent.snapshot import Key, Snapshot
from app.api.v1alpha1.gpunode import ForeignUse, GPUNodeStatus, ServiceUse

Holder = tuple[Key | None, str]
"""Service (None: anybody else) and resource name."""


def plan_nodes(snapshot: Snapshot) -> list[Patch]:
    """Patches of the GPUNodes whose status is not what their pods hold."""
    use = count_use(snapshot)
    return plan_statuses(Target.GPU_NODE, snapshot.gpu_nodes, lambda key: build_status(use.get(key[1], {})))


def count_use(snapshot: Snapshot) -> Mapping[str, Mapping[Holder, int]]:
    """GPUs by node and holder. A pod is a service's when its workload made it and a
    GPURequest of its name stands beside it."""
    use: defaultdict[str, Counter[Holder]] = defaultdict(Counter)
    for pod in snapshot.pods.values():
        if not pod.node or pod.ended:
            continue
        owner = (pod.namespace, pod.member.service) if pod.member else None
        for resource, gpus in pod.gpus:
            use[pod.node][(owner if owner in snapshot.requests else None, resource)] += gpus
    return use


def build_status(use: Mapping[Holder, int]) -> GPUNodeStatus:
    """The status of one node; a node that nobody uses says so with a zero."""
    ours = sorted((*owner, resource, gpus) for (owner, resource), gpus in use.items() if owner)
    others = sorted((resource, gpus) for (owner, resource), gpus in use.items() if not owner)
    return GPUNodeStatus(
        observed=True,
        used=sum(use.values()),
        services=[
            ServiceUse(namespace=namespace, name=name, gpus=gpus, resource=resource)
            for namespace, name, resource, gpus in ours
        ],
        others=[ForeignUse(gpus=gpus, resource=resource) for resource, gpus in others],
    )
