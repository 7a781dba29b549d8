"""GPUs that one pod holds, counted as the kube-scheduler counts them.

    demand(r) = max(containers + sidecars, max over plain init containers of (it + sidecars before it)) + overhead

Sidecars are init containers with restartPolicy Always. Where a container gives only a limit, the limit is its request.
Source: PodRequests of k8s.io/component-helpers/resource.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from app.kube.lenient import mapping_at, mappings_at
from app.kube.quantity import parse_quantity

VENDOR = "amd.com/"
NOT_GPUS = frozenset({"amd.com/nic", "amd.com/vnic"})
"""What AMD's network operator offers under the same prefix."""

MOST = 10**6
"""GPUs of one container that are counted: sums of an absurd request stay numbers that a status can hold."""

PodRequests = tuple[tuple[str, int], ...]
"""(resource name, GPUs), by name; only what is more than zero."""


def is_gpu(resource: str, configured: str) -> bool:
    """Whether a resource name stands for GPUs or partitions of GPUs; `configured` is Settings.gpu_resource."""
    return resource == configured or (resource.startswith(VENDOR) and resource not in NOT_GPUS)


def parse_pod_requests(pod: Mapping[str, Any], configured: str) -> PodRequests:
    """GPUs by resource name that a pod of this JSON holds once it is bound."""
    running: Counter[str] = Counter()
    for container in mappings_at(pod, "spec", "containers"):
        running.update(_requests(container, configured))
    sidecars: Counter[str] = Counter()
    starting: Counter[str] = Counter()
    for container in mappings_at(pod, "spec", "initContainers"):
        request = _requests(container, configured)
        if container.get("restartPolicy") == "Always":
            sidecars.update(request)
        else:
            starting |= sidecars + request
    total = (running + sidecars) | starting
    total.update(_gpus(mapping_at(pod, "spec", "overhead"), configured))
    return tuple((name, count) for name, count in sorted(total.items()) if count > 0)


def _requests(container: Mapping[str, Any], configured: str) -> Counter[str]:
    limits = mapping_at(container, "resources", "limits")
    return _gpus({**limits, **mapping_at(container, "resources", "requests")}, configured)


def _gpus(amounts: Mapping[str, Any], configured: str) -> Counter[str]:
    return Counter({sys.intern(name): _count(amount) for name, amount in amounts.items() if is_gpu(name, configured)})


def _count(amount: object) -> int:
    try:
        return min(int(parse_quantity(str(amount))), MOST)
    except ValueError:
        return 0
