"""Scenario -> PlanResult: the hooks of service and pool answer in turns, as they would in the cluster.

    service    asks: its GPURequest
    pool       proposes, then confirms: its GPUAllocation (two passes, see app/scheduling/scheduler.py)
    service    acts on what was bound

Everything that is decided here is decided by the code that the operator runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from app.api.object import Object
from app.api.v1alpha1.gpuallocation import GPUAllocation, GPUAllocationSpec
from app.api.v1alpha1.gpupool import GPUPoolSpec
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.cli.inputs import InputError, read_spec, refused_field
from app.cli.limits import PoolLimit, find_pool_limit
from app.cli.scenario import CACHE_KIND, Scenario
from app.fit.hf_config.config import Unreadable, with_weight_bytes
from app.gpupool import observe as pool_view
from app.gpupool.sync import sync as sync_pool
from app.inferenceservice.children import build_children
from app.inferenceservice.children.gpu_request import build_request
from app.inferenceservice.children.workload import build_today
from app.inferenceservice.facts import Facts, gather_facts
from app.inferenceservice.observe import GPU_ALLOCATION, GPU_REQUEST
from app.inferenceservice.plan import Blocked, Plan, Serve, Wait, plan_service
from app.kube.conditions import ErrorClass, Finding, Reason, format_time
from app.kube.duration import parse_duration
from app.kube.lenient import mapping_at
from app.kube.manifest import Manifest
from app.metacontroller.protocol import Objects, Parent, SyncRequest
from app.scheduling.nodes import Node
from app.scheduling.scheduler import allocate
from app.settings import Settings

PASSES = 2
"""A pool proposes, and confirms when it sees its proposal again."""


@dataclass(frozen=True)
class PlanResult:
    """What service and pool say once they are settled."""

    scenario: Scenario
    facts: Facts
    first: Plan
    """Before any pool answered: what stands against it whatever is free."""
    plan: Plan
    """Once the pool has answered."""
    allocation: GPUAllocationSpec | None
    """The pool's answer; None when the spec's sizes make no shape, so that nothing can be asked."""
    excluded: tuple[tuple[str, int], ...]
    """Why the pool's nodes were not taken, with numbers; of a decision that stands, as it was said then."""
    pool_nodes: tuple[Node, ...]
    """GPUs of the pool's nodes, by resource name."""
    claimed: frozenset[str]
    """Nodes that an older pool has."""
    children: tuple[Manifest, ...]
    """What the service would be made of."""
    today: Manifest | None
    """The workload of today's decision, None when there is no such."""
    limit: PoolLimit | None = None
    """The pool's limit of GPUs that is for the service's namespace."""

    @property
    def refusal(self) -> Finding | None:
        """What stands against it whatever is free: its spec, or a pool that does not exist."""
        if isinstance(self.first, Blocked):
            return self.first.finding
        if not self.scenario.pool_exists and isinstance(self.plan, Blocked):
            return self.plan.finding
        return None


def decide(scenario: Scenario, settings: Settings, now: datetime) -> PlanResult:
    """The result on one service."""
    spec = read_spec(scenario.parent.name, scenario.parent.spec)
    first = _facts(scenario, spec, settings, now)
    plan = plan_service(first)
    view = pool_view.observe(_pool_request(scenario, {}), _read_pool(scenario), now)
    allocation: GPUAllocationSpec | None = None
    if request := _request(first, plan, scenario, now):
        scenario, allocation = _ask(scenario, request, settings, now)
    facts = _facts(scenario, spec, settings, now)
    final = plan_service(facts)
    today = build_today(final, facts)
    children = tuple(build_children(final, facts, today))
    excluded = tuple(_excluded(scenario, allocation, now))
    limit = find_pool_limit(_pool_request(scenario, scenario.allocations), _read_pool(scenario), scenario.key, now)
    claimed = frozenset(view.claimed)
    return PlanResult(scenario, facts, plan, final, allocation, excluded, view.nodes, claimed, children, today, limit)


def _facts(scenario: Scenario, spec: InferenceServiceSpec, settings: Settings, now: datetime) -> Facts:
    allocations = _only(scenario.allocations, scenario.key) if scenario.pool_exists else {}
    related = {CACHE_KIND: dict(scenario.caches), GPU_ALLOCATION: allocations}
    children = {kind: dict(objects) for kind, objects in scenario.children.items()}
    request = SyncRequest(parent=scenario.parent, children=children, related=related)
    facts = gather_facts(request, spec, settings, now, scenario.override.facts)
    if facts.model is None or scenario.override.weight_bytes is None:
        return facts
    sized = with_weight_bytes(facts.model, scenario.override.weight_bytes)
    if isinstance(sized, Unreadable):
        raise InputError(sized.reason)
    return gather_facts(request, spec, settings, now, sized)


def _only(objects: Mapping[str, Manifest], key: str) -> dict[str, Manifest]:
    return {key: objects[key]} if key in objects else {}


def _request(facts: Facts, plan: Plan, scenario: Scenario, now: datetime) -> Manifest | None:
    """What the service asks. Where something else stands against it, it is asked all the same: the answer tells what
    the nodes are good for."""
    if not (isinstance(plan, Serve) or (isinstance(plan, Wait) and plan.asks)):
        finding = Finding(ErrorClass.TRANSIENT, Reason.PENDING, "")
        facts = replace(facts, observed=replace(facts.observed, request=None, pools_possible=True))
        plan = Wait(finding, plan.replicas if isinstance(plan, Wait) else facts.spec.replicas, asks=True)
    built = next(iter(build_request(plan, facts)), None)
    if built is None:
        return None
    observed = mapping_at(scenario.children.get(GPU_REQUEST, {}), scenario.key)
    created = {"creationTimestamp": format_time(now), "uid": "planned"}
    metadata = created | dict(mapping_at(observed, "metadata")) | dict(mapping_at(built, "metadata"))
    metadata["annotations"] = {}  # as below
    status = dict(mapping_at(observed, "status")) | {
        "poolExists": scenario.pool_exists,
        "anyPool": bool(scenario.pools),
    }
    return {**built, "metadata": metadata, "status": status}


def _ask(
    scenario: Scenario, request: Manifest, settings: Settings, now: datetime
) -> tuple[Scenario, GPUAllocationSpec | None]:
    """The scenario as it is after the pool's passes, and the pool's answer."""
    children = {**scenario.children}
    if GPU_REQUEST in children:
        children[GPU_REQUEST] = {**children[GPU_REQUEST], scenario.key: request}
    scenario = replace(scenario, children=children, requests={**scenario.requests, scenario.key: request})
    for _ in range(PASSES):
        answered = sync_pool(_pool_request(scenario, scenario.allocations), settings, now, scenario.key).children
        scenario = replace(
            scenario, allocations={_key(it): _kept_metadata(it, scenario.allocations, now) for it in answered}
        )
    answer = scenario.allocations.get(scenario.key)
    return scenario, GPUAllocation.read(answer).spec if answer else None


def _excluded(scenario: Scenario, allocation: GPUAllocationSpec | None, now: datetime) -> Iterator[tuple[str, int]]:
    """Of a changed request that waits, the allocation tells no numbers: it is still about the earlier one."""
    if allocation is None:
        return
    if allocation.next:
        spec = _read_pool(scenario)
        view = pool_view.observe(_pool_request(scenario, scenario.allocations), spec, now)
        decisions = allocate(view.nodes, view.placement_requests, view.existing, parse_duration(spec.reserve_after))
        yield from decisions[scenario.key].excluded
        return
    yield from ((it.reason, it.nodes) for it in allocation.excluded)


def _kept_metadata(allocation: Manifest, before: Mapping[str, Manifest], now: datetime) -> Manifest:
    """As the API server would keep it: what it wrote stays, and what is new is new."""
    created = {"creationTimestamp": format_time(now), "uid": f"planned-{_key(allocation)}"}
    old = mapping_at(before.get(_key(allocation), {}), "metadata")
    metadata = {**created, **old, **allocation["metadata"]}
    metadata["annotations"] = {}  # the last applied configuration of earlier passes would be taken for this one
    return {**allocation, "metadata": metadata}


def _key(manifest: Manifest) -> str:
    return Object.read(manifest).key


def _pool_request(scenario: Scenario, allocations: Mapping[str, Manifest]) -> SyncRequest:
    parts = {part: dict(mapping_at(scenario.pool, part)) for part in ("metadata", "spec", "status")}
    related: Objects = {
        pool_view.NODE_KIND: scenario.gpu_nodes,
        pool_view.REQUEST_KIND: scenario.requests,
        pool_view.POOL_KIND: scenario.pools,
        pool_view.NAMESPACE_KIND: scenario.namespaces,
    }
    return SyncRequest(
        parent=Parent(**parts),
        children={pool_view.ALLOCATION_KIND: dict(allocations)},
        related={kind: dict(objects) for kind, objects in related.items()},
    )


def _read_pool(scenario: Scenario) -> GPUPoolSpec:
    try:
        return GPUPoolSpec.model_validate(mapping_at(scenario.pool, "spec"))
    except ValidationError as error:
        raise refused_field(f"GPUPool {Object.read(scenario.pool).metadata.name}", "spec", error) from None
