"""Case -> Verdict: the hooks of service and pool answer in turns, as they would in the cluster.

    service    asks: its GPURequest
    pool       proposes, then confirms: its GPUAllocation (two looks, see app/scheduling/scheduler.py)
    service    acts on what was bound

Everything that is decided here is decided by the code that the operator runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from app.api.v1alpha1.gpupool import GPUPoolSpec
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.cli.case import CACHE_KIND, Case
from app.cli.errors import InputError, refused_field
from app.cli.limits import PoolLimit, find_pool_limit
from app.cli.rules import broken_rules
from app.fit.config import Unreadable, with_weight_bytes
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
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at
from app.kube.manifest import Manifest
from app.metacontroller.protocol import Objects, Parent, SyncRequest
from app.scheduling.nodes import Node
from app.scheduling.scheduler import allocate
from app.settings import Settings

LOOKS = 2
"""A pool proposes, and confirms when it sees its proposal again."""


@dataclass(frozen=True)
class Verdict:
    """What service and pool say once they are settled."""

    case: Case
    facts: Facts
    first: Plan
    """Before any pool answered: what stands against it whatever is free."""
    plan: Plan
    """Once the pool has answered."""
    allocation: Manifest
    """The pool's answer; empty when the spec's sizes make no shape, so that nothing can be asked."""
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
        if not self.case.pool_exists and isinstance(self.plan, Blocked):
            return self.plan.finding
        return None


def decide(case: Case, settings: Settings, now: datetime) -> Verdict:
    """The verdict on one service."""
    spec = read_spec(case)
    first = _facts(case, spec, settings, now)
    plan = plan_service(first)
    view = pool_view.observe(_pool_request(case, {}), _read_pool(case), now)
    allocation: Manifest = {}
    if request := _request(first, plan, case, now):
        case, allocation = _ask(case, request, settings, now)
    facts = _facts(case, spec, settings, now)
    final = plan_service(facts)
    today = build_today(final, facts)
    children = tuple(build_children(final, facts, today))
    excluded = tuple(_excluded(case, allocation, now))
    limit = find_pool_limit(_pool_request(case, case.allocations), _read_pool(case), case.key, now)
    claimed = frozenset(view.claimed)
    return Verdict(case, facts, plan, final, allocation, excluded, view.nodes, claimed, children, today, limit)


def read_spec(case: Case) -> InferenceServiceSpec:
    """The spec, or a sentence that names each field that is refused."""
    try:
        spec = InferenceServiceSpec.model_validate(case.parent.spec)
    except ValidationError as error:
        raise refused_field(f"InferenceService {case.parent.name}", "spec", error) from None
    if broken := list(broken_rules(spec)):
        raise InputError(f"InferenceService {case.parent.name} is not accepted: spec: {'; '.join(broken)}")
    return spec


def _facts(case: Case, spec: InferenceServiceSpec, settings: Settings, now: datetime) -> Facts:
    allocations = _only(case.allocations, case.key) if case.pool_exists else {}
    related = {CACHE_KIND: dict(case.caches), GPU_ALLOCATION: allocations}
    children = {kind: dict(objects) for kind, objects in case.children.items()}
    request = SyncRequest(parent=case.parent, children=children, related=related)
    facts = gather_facts(request, spec, settings, now, case.told.facts)
    if facts.model is None or case.told.weight_bytes is None:
        return facts
    sized = with_weight_bytes(facts.model, case.told.weight_bytes)
    if isinstance(sized, Unreadable):
        raise InputError(sized.reason)
    return gather_facts(request, spec, settings, now, sized)


def _only(objects: Mapping[str, Manifest], key: str) -> dict[str, Manifest]:
    return {key: objects[key]} if key in objects else {}


def _request(facts: Facts, plan: Plan, case: Case, now: datetime) -> Manifest | None:
    """What the service asks. Where something else stands against it, it is asked all the same: the answer tells what
    the nodes are good for."""
    if not (isinstance(plan, Serve) or (isinstance(plan, Wait) and plan.asks)):
        finding = Finding(ErrorClass.TRANSIENT, Reason.PENDING, "")
        facts = replace(facts, observed=replace(facts.observed, request=None, pools_possible=True))
        plan = Wait(finding, plan.replicas if isinstance(plan, Wait) else facts.spec.replicas, asks=True)
    built = next(iter(build_request(plan, facts)), None)
    if built is None:
        return None
    observed = mapping_at(case.children.get(GPU_REQUEST, {}), case.key)
    created = {"creationTimestamp": format_time(now), "uid": "planned"}
    metadata = created | dict(mapping_at(observed, "metadata")) | dict(mapping_at(built, "metadata"))
    metadata["annotations"] = {}  # as below
    status = dict(mapping_at(observed, "status")) | {
        "poolExists": case.pool_exists,
        "anyPool": bool(case.pools),
    }
    return {**built, "metadata": metadata, "status": status}


def _ask(case: Case, request: Manifest, settings: Settings, now: datetime) -> tuple[Case, Manifest]:
    """The case as it is after the pool's looks, and the pool's answer."""
    children = {**case.children}
    if GPU_REQUEST in children:
        children[GPU_REQUEST] = {**children[GPU_REQUEST], case.key: request}
    case = replace(case, children=children, requests={**case.requests, case.key: request})
    for _ in range(LOOKS):
        answered = sync_pool(_pool_request(case, case.allocations), settings, now, case.key).children
        case = replace(case, allocations={_key(it): _kept_metadata(it, case.allocations, now) for it in answered})
    return case, case.allocations.get(case.key, {})


def _excluded(case: Case, allocation: Manifest, now: datetime) -> Iterator[tuple[str, int]]:
    """Of a changed request that waits, the allocation tells no numbers: it is still about the earlier one."""
    if mapping_at(allocation, "spec", "next"):
        spec = _read_pool(case)
        view = pool_view.observe(_pool_request(case, case.allocations), spec, now)
        decisions = allocate(view.nodes, view.needs, view.held, parse_duration(spec.reserve_after))
        yield from decisions[case.key].excluded
        return
    for entry in mappings_at(allocation, "spec", "excluded"):
        yield text_at(entry, "reason"), count_at(entry, "nodes")


def _kept_metadata(allocation: Manifest, before: Mapping[str, Manifest], now: datetime) -> Manifest:
    """As the API server would keep it: what it wrote stays, and what is new is new."""
    created = {"creationTimestamp": format_time(now), "uid": f"planned-{_key(allocation)}"}
    old = mapping_at(before.get(_key(allocation), {}), "metadata")
    metadata = {**created, **old, **allocation["metadata"]}
    metadata["annotations"] = {}  # the last applied configuration of earlier looks would be taken for this one
    return {**allocation, "metadata": metadata}


def _key(manifest: Manifest) -> str:
    return f"{text_at(manifest, 'metadata', 'namespace')}/{text_at(manifest, 'metadata', 'name')}"


def _pool_request(case: Case, allocations: Mapping[str, Manifest]) -> SyncRequest:
    parts = {part: dict(mapping_at(case.pool, part)) for part in ("metadata", "spec", "status")}
    related: Objects = {
        pool_view.NODE_KIND: case.gpu_nodes,
        pool_view.REQUEST_KIND: case.requests,
        pool_view.POOL_KIND: case.pools,
        pool_view.NAMESPACE_KIND: case.namespaces,
    }
    return SyncRequest(
        parent=Parent(**parts),
        children={pool_view.ALLOCATION_KIND: dict(allocations)},
        related={kind: dict(objects) for kind, objects in related.items()},
    )


def _read_pool(case: Case) -> GPUPoolSpec:
    try:
        return GPUPoolSpec.model_validate(mapping_at(case.pool, "spec"))
    except ValidationError as error:
        raise refused_field(f"GPUPool {text_at(case.pool, 'metadata', 'name')}", "spec", error) from None
