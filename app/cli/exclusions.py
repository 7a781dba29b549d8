"""Why the nodes that were not taken were not: reasons with numbers that, with the nodes taken, are all nodes.

The pool counts GPUs by resource name, so a node that offers several names is several entries there; here it is one.
"""

from __future__ import annotations

from collections import Counter

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec, Phase
from app.api.v1alpha1.places import parse_places
from app.cli.decide import Verdict
from app.kube.lenient import mapping_at, mappings_at, value_at
from app.scheduling.nodes import Node

NO_GPUS = "has no AMD GPUs"
NOTHING_OFFERED = "offers no GPUs at present"
OTHER_POOL = "is not in the pool"
CLAIMED = "is in an older pool"
NOT_ASKED = "was not looked at, because the service is refused"
LATER = "was not counted when it was decided, and the decision stands"


def is_refused(verdict: Verdict) -> bool:
    """Whatever is free."""
    return verdict.refusal is not None or verdict.allocation.get("spec", {}).get("phase") == Phase.IMPOSSIBLE


def taken_nodes(verdict: Verdict) -> dict[str, int]:
    """GPUs by node, of all groups that have a place; none for a service that is refused."""
    if verdict.refusal:
        return {}
    spec = mapping_at(verdict.allocation, "spec")
    if _is_of_earlier_request(verdict):
        return {}
    taken: Counter[str] = Counter()
    for place in parse_places(GPUAllocationSpec.read(spec).gpus).values():
        taken[place.node] += place.gpus
    return dict(sorted(taken.items()))


def excluded_nodes(verdict: Verdict) -> dict[str, int]:
    """Nodes by reason, the most frequent first."""
    counts = Counter(_outside(verdict))
    hosts = {node.host for node in verdict.pool_nodes}
    left = len(hosts - taken_nodes(verdict).keys())
    for reason, count in _told(verdict).items():
        counts[reason] += min(count, left)
        left -= min(count, left)
    counts[NOT_ASKED if is_refused(verdict) else LATER] += left
    return {reason: count for reason, count in sorted(counts.items(), key=lambda it: (-it[1], it[0])) if count}


def _told(verdict: Verdict) -> Counter[str]:
    """What the pool said, less the other names of nodes that offer the one that is asked for."""
    if verdict.refusal and not verdict.case.pool_exists:
        return Counter()
    told = Counter(dict(verdict.excluded))
    for reason in _second_names(verdict):
        told[reason] -= 1
    return +told


def _second_names(verdict: Verdict) -> list[str]:
    """What the pool says of every further name under which a node offers GPUs."""
    asked = verdict.facts.need.request.resource if verdict.facts.need else ""
    by_host: dict[str, list[Node]] = {}
    for node in verdict.pool_nodes:
        by_host.setdefault(node.host, []).append(node)
    further: list[str] = []
    for nodes in by_host.values():
        others = sorted(node.resource for node in nodes if node.resource != asked)
        counted_already = others if len(others) < len(nodes) else others[1:]
        further += [f"offers {resource}, not {asked}" for resource in counted_already]
    return further


def _outside(verdict: Verdict) -> list[str]:
    """One reason for each node that is not in the pool, or has nothing to give."""
    inside = {node.host for node in verdict.pool_nodes}
    return [_why_outside(verdict, name) for name in sorted(verdict.case.nodes - inside)]


def _why_outside(verdict: Verdict, name: str) -> str:
    gpu_node = verdict.case.gpu_nodes.get(name)
    if gpu_node is None:
        return NO_GPUS
    if name in verdict.claimed:
        return CLAIMED
    return OTHER_POOL if mappings_at(gpu_node, "spec", "resources") else NOTHING_OFFERED


def _is_of_earlier_request(verdict: Verdict) -> bool:
    """While a changed request waits, the decision about the earlier one stands."""
    need = verdict.facts.need
    return need is not None and value_at(verdict.allocation, "spec", "digest") not in (None, need.digest)
