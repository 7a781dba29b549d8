"""Plan -> desired objects: one builder a child, one expression each."""

from __future__ import annotations

from collections.abc import Callable

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.inferenceservice.children.access import rebuild_grants
from app.inferenceservice.children.autoscaler import build_autoscaler
from app.inferenceservice.children.disruption_budget import build_budget
from app.inferenceservice.children.gpu_request import build_request
from app.inferenceservice.children.ingress import build_own_ingress
from app.inferenceservice.children.model_cache import build_cache
from app.inferenceservice.children.network_policy import build_own_network_policy
from app.inferenceservice.children.service import build_service
from app.inferenceservice.children.ssh_keys import build_keys
from app.inferenceservice.children.workload import build_kept
from app.inferenceservice.facts import Facts
from app.inferenceservice.plan import Blocked, Plan, Serve
from app.kube.manifest import Manifest
from app.metacontroller.keep import keep_children


def build_children(plan: Plan, facts: Facts, today: Manifest | None) -> list[Manifest]:
    """The whole desired state; `today` is the workload of today's decision. A blocked plan keeps all as it is."""
    if isinstance(plan, Blocked):
        return _held(facts)
    children = [build(facts) for build in _ALWAYS] + [build(facts) for wanted, build in _OPTIONAL if wanted(facts.spec)]
    children += [*build_keys(facts), *build_request(plan, facts)]
    if isinstance(plan, Serve):
        workload = build_kept(plan.kept, plan.replicas, facts) if plan.kept else today
        return [*children, *([workload] if workload else []), *_autoscaler(facts)]
    return children + running_workloads(facts, {child["kind"] for child in children})


def running_workloads(facts: Facts, built: set[str]) -> list[Manifest]:
    """While something is waited for, what runs goes on running, with its autoscaler and the cache it mounts; of kinds
    that are `built` anyway there is no second object."""
    running = [state.applied for state in facts.observed.workloads]
    kept = _GO_ON_WITH_PODS - built if running else set()
    return running + [child for child in _held(facts) if child.get("kind") in kept]


_GO_ON_WITH_PODS = {"HorizontalPodAutoscaler", "ModelCache"}


def _held(facts: Facts) -> list[Manifest]:
    """All observed children as they stand, for when nothing may change."""
    rebuild = rebuild_grants(facts.identity.name, facts.settings.client_namespaces)
    return keep_children(facts.observed.children, rebuild)


def _autoscaler(facts: Facts) -> list[Manifest]:
    return [build_autoscaler(facts)] if facts.spec.autoscaling.enabled else []


_ALWAYS: tuple[Callable[[Facts], Manifest], ...] = (build_service, build_budget, build_own_network_policy)
_OPTIONAL: tuple[tuple[Callable[[InferenceServiceSpec], bool], Callable[[Facts], Manifest]], ...] = (
    (lambda spec: spec.networking.ingress.enabled, build_own_ingress),
    (lambda spec: spec.model.source is not None, build_cache),
)
