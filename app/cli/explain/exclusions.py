"""Why the nodes that were not taken were not: reasons with numbers that, with the nodes taken, are all nodes.

The pool counts GPUs by resource name, so a node that offers several names is several entries there; here it is one.
"""

from __future__ import annotations

from collections import Counter

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec, Phase
from app.api.v1alpha1.gpunode import GPUNode
from app.api.v1alpha1.places import parse_places
from app.cli.decide import PlanResult
from app.scheduling.nodes import Node

NO_GPUS = "has no AMD GPUs"
NOTHING_OFFERED = "offers no GPUs at present"
OTHER_POOL = "is not in the pool"
CLAIMED = "is in an older pool"
NOT_ASKED = "was not looked at, because the service is refused"
LATER = "was not counted when it was decided, and the decision stands"


def is_refused(result: PlanResult) -> bool:
    """Whatever is free."""
    phase = result.allocation.phase if result.allocation else None
    return result.refusal is not None or phase == Phase.IMPOSSIBLE


def taken_nodes(result: PlanResult) -> dict[str, int]:
    """GPUs by node, of all groups that have a place; none for a service that is refused."""
    allocation = result.allocation
    if result.refusal or allocation is None or _is_of_earlier_request(allocation, result):
        return {}
    taken: Counter[str] = Counter()
    for place in parse_places(allocation.gpus).values():
        taken[place.node] += place.gpus
    return dict(sorted(taken.items()))


def excluded_nodes(result: PlanResult) -> dict[str, int]:
    """Nodes by reason, the most frequent first."""
    counts = Counter(_outside(result))
    hosts = {node.host for node in result.pool_nodes}
    left = len(hosts - taken_nodes(result).keys())
    for reason, count in _reported(result).items():
        counts[reason] += min(count, left)
        left -= min(count, left)
    counts[NOT_ASKED if is_refused(result) else LATER] += left
    return {reason: count for reason, count in sorted(counts.items(), key=lambda it: (-it[1], it[0])) if count}


def _reported(result: PlanResult) -> Counter[str]:
    """What the pool said, less the other names of nodes that offer the one that is asked for."""
    if result.refusal and not result.scenario.pool_exists:
        return Counter()
    reported = Counter(dict(result.excluded))
    for reason in _second_names(result):
        reported[reason] -= 1
    return +reported


def _second_names(result: PlanResult) -> list[str]:
    """What the pool says of every further name under which a node offers GPUs."""
    asked = result.facts.need.request.resource if result.facts.need else ""
    by_host: dict[str, list[Node]] = {}
    for node in result.pool_nodes:
        by_host.setdefault(node.host, []).append(node)
    further: list[str] = []
    for nodes in by_host.values():
        others = sorted(node.resource for node in nodes if node.resource != asked)
        counted_already = others if len(others) < len(nodes) else others[1:]
        further += [f"offers {resource}, not {asked}" for resource in counted_already]
    return further


def _outside(result: PlanResult) -> list[str]:
    """One reason for each node that is not in the pool, or has nothing to give."""
    inside = {node.host for node in result.pool_nodes}
    return [_why_outside(result, name) for name in sorted(result.scenario.nodes - inside)]


def _why_outside(result: PlanResult, name: str) -> str:
    gpu_node = result.scenario.gpu_nodes.get(name)
    if gpu_node is None:
        return NO_GPUS
    if name in result.claimed:
        return CLAIMED
    return OTHER_POOL if GPUNode.read(gpu_node).spec.resources else NOTHING_OFFERED


def _is_of_earlier_request(allocation: GPUAllocationSpec, result: PlanResult) -> bool:
    """While a changed request waits, the decision about the earlier one stands."""
    need = result.facts.need
    return need is not None and allocation.digest != need.digest
