"""A world -> what the service asks, and what its pool answers: the reconcilers' own stages, one after the other.

The pool is asked twice, as in a cluster: the first answer proposes GPUs, the second, which sees the first, binds them.
"""

from __future__ import annotations

from dataclasses import dataclass

from app import gpupool
from app.cli.world import World
from app.gpupool.observed import ALLOCATION_KIND, NAMESPACE_KIND, NODE_KIND, POOL_KIND, REQUEST_KIND
from app.hook import SyncRequest
from app.inferenceservice.checks import BLOCKERS, first_finding
from app.inferenceservice.children import build_children
from app.inferenceservice.facts import Facts, find_model_facts
from app.inferenceservice.observed import MODEL_CACHE, Observed
from app.inferenceservice.plan import Plan, Serve, plan_service
from app.inferenceservice.request import new_request
from app.inferenceservice.source import build_cache
from app.inferenceservice.spec import InferenceServiceSpec
from app.inferenceservice.sync import gather_facts
from app.kube.conditions import format_time
from app.kube.lenient import mapping_at, text_at
from app.kube.manifest import Manifest
from app.topology.config import Unreadable, with_weight_bytes
from app.topology.models import ModelFacts


@dataclass(frozen=True)
class Asked:
    """What a service would ask of its pool today."""

    facts: Facts
    plan: Plan
    blocked: str
    """Why only an edit helps, "" when nothing stands against it."""
    model: ModelFacts | None
    unreadable: str
    """Why what was given about the model says nothing."""
    request: Manifest | None
    """None: the sizes contradict each other."""


@dataclass
class _Finder:
    """Finds the model's facts once, and remembers what stood against what was given."""

    world: World
    weight_bytes: int | None
    found: ModelFacts | None = None
    problem: str = ""

    def __call__(self, spec: InferenceServiceSpec, observed: Observed) -> ModelFacts | None:
        world = self.world
        self.problem = world.unreadable
        self.found = None if world.unreadable else world.model or find_model_facts(spec, observed)
        if self.found and self.weight_bytes and world.model is None:
            sized = with_weight_bytes(self.found, self.weight_bytes)
            if isinstance(sized, Unreadable):
                self.problem, self.found = sized.reason, None
            else:
                self.found = sized
        return self.found


def ask(world: World, weight_bytes: int | None = None) -> Asked:
    """The need of the service, and the request that carries it to the pool. A ModelCache that the service would make
    counts as made: it names the model."""
    finder = _Finder(world, weight_bytes)
    request = SyncRequest(parent=world.parent, children=world.children, related=dict(world.related))
    facts = gather_facts(request, world.spec, world.settings, world.now, finder)
    if world.spec.model.source and facts.observed.cache is None:
        cache = build_cache(facts)
        children = {**world.children, MODEL_CACHE: {f"{world.parent.namespace}/{cache['metadata']['name']}": cache}}
        request = request.model_copy(update={"children": children})
        facts = gather_facts(request, world.spec, world.settings, world.now, finder)
    plan, blocked = plan_service(facts), first_finding(BLOCKERS, facts)
    return Asked(
        facts=facts,
        plan=plan,
        blocked=blocked.message if blocked else "",
        model=finder.found,
        unreadable=finder.problem,
        request=_request(world, facts, plan),
    )


def _request(world: World, facts: Facts, plan: Plan) -> Manifest | None:
    """What runs and goes on keeps its request; else it is the one that would be made today."""
    if isinstance(plan, Serve) and plan.kept and facts.observed.request:
        built = (child for child in build_children(plan, facts) if child.get("kind") == "GPURequest")
        return next(built, None)
    return new_request(facts.need, plan, facts) if facts.need else None


@dataclass(frozen=True)
class Answer:
    """The pool's word about one request."""

    first: Manifest
    """GPUAllocation as it would be written at first, with its reasons."""
    bound: Manifest
    """The same after the second look."""


def ask_pool(world: World, request: Manifest) -> Answer | None:
    """The pool's decision, among those for everybody else; None when there is no such pool."""
    if world.pool is None:
        return None
    asking = {**world.requests, world.key: _standing(world, request)}
    first = _allocations(world, asking, dict(world.allocations))
    times = {"creationTimestamp": format_time(world.now)}
    seen = {key: _observed(item, world.allocations.get(key), times) for key, item in first.items()}
    second = _allocations(world, asking, {**world.allocations, **seen})
    return Answer(first[world.key], second[world.key])


def _standing(world: World, request: Manifest) -> Manifest:
    """The request as the pool would see it: with the age and the pods of the one that is there."""
    before = world.requests.get(world.key, {})
    created = text_at(before, "metadata", "creationTimestamp") or format_time(world.now)
    metadata = {**request["metadata"], "creationTimestamp": created}
    status = mapping_at(before, "status")
    return {**request, "metadata": metadata, **({"status": dict(status)} if status else {})}


def _observed(item: Manifest, before: Manifest | None, times: dict[str, str]) -> Manifest:
    old = {key: value for key, value in mapping_at(before, "metadata").items() if key in ("creationTimestamp", "uid")}
    return {**item, "metadata": {**item["metadata"], **(old or times)}}


def _allocations(world: World, asking: dict[str, Manifest], allocations: dict[str, Manifest]) -> dict[str, Manifest]:
    assert world.pool is not None
    request = SyncRequest(
        parent=world.pool,
        children={ALLOCATION_KIND: {key: it for key, it in allocations.items() if _is_of(it, world.pool.name)}},
        related={
            NODE_KIND: {text_at(node, "metadata", "name"): node for node in world.gpu_nodes},
            REQUEST_KIND: asking,
            POOL_KIND: dict(world.pools),
            NAMESPACE_KIND: dict(world.namespaces),
        },
    )
    response = gpupool.sync(request, world.settings, world.now)
    return {_key(child): child for child in response.children}


def _is_of(allocation: Manifest, pool: str) -> bool:
    return text_at(allocation, "spec", "pool") == pool


def _key(child: Manifest) -> str:
    return f"{child['metadata']['namespace']}/{child['metadata']['name']}"
