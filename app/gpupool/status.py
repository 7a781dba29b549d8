"""What the pool holds, in numbers: by product, free and in blocks, and who waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.api.v1alpha1.gpupool import GPUPoolSpec, GPUPoolStatus, LimitUse, ProductStatus, WaitingService
from app.gpupool.limits import build_use
from app.gpupool.observe import STALE_SECONDS, Observed
from app.kube.conditions import Condition, Reason, Status, with_times
from app.scheduling.explain import some
from app.scheduling.nodes import UNKNOWN, Node
from app.scheduling.request import Decision, Outcome, PlacementRequest
from app.scheduling.scheduler import Schedule

SHOWN = 10
"""Waiting services that are listed."""


def build_status(
    spec: GPUPoolSpec,
    observed: Observed,
    found: Schedule,
    previous: Sequence[Mapping[str, Any]],
    now: datetime,
    unanswered: int = 0,
) -> dict[str, Any]:
    """The status of a pool."""
    decisions = found.decisions
    free = _free(observed, decisions)
    total = sum(node.gpus for node in observed.nodes)
    left = sum(free.values())
    products = list(_products(observed.nodes, free))
    waiting = sorted(_waiting(decisions), key=lambda it: it.place)
    status = GPUPoolStatus(
        nodes=len({node.host for node in observed.nodes}),
        gpus=total,
        free=left,
        allocated=sum(
            _granted(decisions[need.service], need) for need in observed.placement_requests if need.service in decisions
        ),
        fragmentation=_fragmentation(observed.nodes, free),
        limits=_limits(spec, observed, found) or None,
        products=products,
        largest=_largest(products) or None,
        pending=len(waiting),
        resume=found.resume or None,
        unanswered=unanswered or None,
        waiting=waiting[:SHOWN],
        conditions=[],
    )
    content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return content | {"conditions": with_times(_conditions(observed, decisions, unanswered), previous, now)}


def _limits(spec: GPUPoolSpec, observed: Observed, found: Schedule) -> list[LimitUse]:
    held = Counter(need.tenant for need in observed.placement_requests if found.decisions[need.service].lacks_quota)
    return build_use(spec, observed.limits, found.used, held)


Key = tuple[str, str]


def _free(observed: Observed, decisions: Mapping[str, Decision]) -> dict[Key, int]:
    """GPUs that neither others nor services hold, where pods run or decisions stand; never below 0."""
    free = {(node.host, node.resource): node.gpus - (node.unmanaged_usage or 0) for node in observed.nodes}
    for need in observed.placement_requests:
        for key, gpus in _held(need, decisions.get(need.service)):
            if key in free:
                free[key] -= gpus
    return {key: max(0, count) for key, count in free.items()}


def _held(need: PlacementRequest, decision: Decision | None) -> Iterator[tuple[Key, int]]:
    """Where pods run, and where they will: a pod of an earlier request has its GPUs until it goes."""
    resource = need.requirements.resource
    running = [((pod.group, pod.worker), (pod.host, pod.resource or resource), pod.gpus) for pod in need.bound_pods]
    yield from ((key, gpus) for _, key, gpus in running)
    at_their_place = {(slot, key) for slot, key, _ in running}
    for slot, host in (decision.hosts if decision else {}).items():
        if (slot, (host, resource)) not in at_their_place:
            yield (host, resource), need.gpus_per_node


def _granted(decision: Decision, need: PlacementRequest) -> int:
    return len(decision.hosts) * need.gpus_per_node


def _fragmentation(nodes: Sequence[Node], free: Mapping[Key, int]) -> int:
    """% of the free GPUs that are on nodes where somebody is already."""
    total = sum(free.values())
    whole = sum(free[node.host, node.resource] for node in nodes if free[node.host, node.resource] == node.gpus)
    return round(100 * (total - whole) / total) if total else 0


def _products(nodes: Sequence[Node], free: Mapping[Key, int]) -> Iterator[ProductStatus]:
    for product, resource in sorted({(node.product, node.resource) for node in nodes}):
        same = [node for node in nodes if (node.product, node.resource) == (product, resource)]
        counts = [free[node.host, node.resource] for node in same]
        yield ProductStatus(
            product=product or UNKNOWN,
            resource=resource,
            nodes=len(same),
            gpus=sum(node.gpus for node in same),
            free=sum(counts),
            largest_free=max(counts),
        )


def _largest(products: Sequence[ProductStatus]) -> str:
    """In a few words for `kubectl get`; the same product under several resource names is told by its best."""
    best: dict[str, int] = {}
    for it in products:
        best[it.product] = max(best.get(it.product, 0), it.largest_free)
    return ", ".join(f"{gpus} {product}" if len(best) > 1 else str(gpus) for product, gpus in best.items())


def _waiting(decisions: Mapping[str, Decision]) -> Iterator[WaitingService]:
    for key, decision in decisions.items():
        if decision.place_in_line and decision.outcome is not Outcome.IMPOSSIBLE:
            namespace, _, name = key.partition("/")
            yield WaitingService(
                namespace=namespace, name=name, place=decision.place_in_line, waits_for=decision.message
            )


def _conditions(observed: Observed, decisions: Mapping[str, Decision], unanswered: int) -> list[Condition]:
    return [_ready(observed, decisions, unanswered), _agent(observed), *_claimed(observed)]


def _ready(observed: Observed, decisions: Mapping[str, Decision], unanswered: int) -> Condition:
    if not observed.nodes:
        message = "No AMD node matches the node selector: services deploy by what their specs say."
        return Condition("Ready", Status.FALSE, Reason.PENDING, message)
    hosts = len({node.host for node in observed.nodes})
    nodes = "1 node" if hosts == 1 else f"{hosts} nodes"
    services = "1 service" if len(decisions) == 1 else f"{len(decisions)} services"
    rest = f" {unanswered} of them wait without an answer of their own, because very many wait." if unanswered else ""
    message = f"The pool decides for {services} on {nodes}.{rest}"
    return Condition("Ready", Status.TRUE, Reason.SUCCESSFUL, message)


def _agent(observed: Observed) -> Condition:
    if observed.agent_is_alive:
        message = "The agent reports what pods hold."
        return Condition("AgentAlive", Status.TRUE, Reason.SUCCESSFUL, message)
    silent = "has given no sign yet" if observed.heartbeat_age is None else f"is silent for over {STALE_SECONDS:.0f} s"
    message = (
        f"The agent {silent}: what pods of others hold is unknown and counts as free, and pods behind the placement "
        "gate wait."
    )
    return Condition("AgentAlive", Status.FALSE, Reason.PENDING, message)


def _claimed(observed: Observed) -> list[Condition]:
    if not observed.claimed:
        return []
    message = f"Nodes that an older pool has: {some(observed.claimed, 5)}. Narrow one of the node selectors."
    return [Condition("NodesClaimed", Status.TRUE, Reason.CONFIGURATION_ERROR, message)]
