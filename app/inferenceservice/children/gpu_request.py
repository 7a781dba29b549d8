"""The GPURequest: the service's need, as long as it wants GPUs.

It is decided once, as the workload is: while a workload goes on that was built for the request that stands, the request
is answered as applied, but for its groups, pool, priority and claim. Otherwise late facts or a newer planner would make
the pool decide anew about pods that run.
"""

from __future__ import annotations

from typing import Any

from app.api.bounds import GROUPS
from app.api.schema import API_VERSION
from app.api.v1alpha1.gpurequest import GPURequestSpec, ReplicaRange
from app.inferenceservice.demand import Need
from app.inferenceservice.facts import Facts
from app.inferenceservice.neighbours import claim_of_one_node
from app.inferenceservice.plan import Plan, Serve, Wait
from app.kube.manifest import Manifest, annotation
from app.kube.names import CACHE_LABEL, REQUEST_ANNOTATION, SERVICE_LABEL, label_value, standard_labels


def build_request(plan: Plan, facts: Facts) -> list[Manifest]:
    """The one GPURequest, or none: no pool can be asked, the weights are not there yet, or too many wait."""
    if not facts.observed.pools_possible:
        return []
    applied = facts.observed.request_applied
    if applied and (_is_of_workload(plan, applied) or not _asks(plan)):
        return [_with_current(applied, plan, facts)]
    asks = _asks(plan) and not facts.observed.is_held_back
    return [_new_request(facts.need, plan, facts)] if asks and facts.need else []


def _asks(plan: Plan) -> bool:
    return isinstance(plan, Serve) or (isinstance(plan, Wait) and plan.asks)


def _is_of_workload(plan: Plan, applied: Manifest) -> bool:
    """Whether what goes on running was built for this very request."""
    kept = plan.kept.applied if isinstance(plan, Serve) and plan.kept else None
    return kept is not None and annotation(kept, REQUEST_ANNOTATION) == applied.get("spec", {}).get("digest")


def _with_current(applied: Manifest, plan: Plan, facts: Facts) -> Manifest:
    """What may change without a new decision."""
    resources, replicas = facts.spec.resources, _as_json(_replicas(plan, facts))
    current = {"pool": resources.pool, "priority": resources.priority, "replicas": replicas} | _claim(facts)
    metadata = applied["metadata"]
    spec = {key: value for key, value in applied["spec"].items() if key != "claim"}
    labels = metadata.get("labels", {}) | _cache_label(facts)
    return applied | {"metadata": metadata | {"labels": labels}, "spec": spec | current}


def _new_request(need: Need, plan: Plan, facts: Facts) -> Manifest:
    spec: GPURequestSpec = need.request.model_copy(update={"replicas": _replicas(plan, facts)})
    labels = standard_labels("gpu-request", facts.identity.name, facts.spec.model.name)
    return {
        "apiVersion": API_VERSION,
        "kind": "GPURequest",
        "metadata": {
            "name": facts.identity.name,
            "namespace": facts.identity.namespace,
            "labels": labels | {SERVICE_LABEL: facts.identity.name} | _cache_label(facts),
        },
        "spec": _as_json(spec) | _claim(facts),
    }


def _cache_label(facts: Facts) -> dict[str, str]:
    """By which services of one ModelCache find each other."""
    cache = facts.spec.storage.model_cache
    return {CACHE_LABEL: label_value(cache)} if cache else {}


def _claim(facts: Facts) -> dict[str, str]:
    """The ReadWriteOnce claim that its pods read, by which the pool gives its readers one node."""
    claim = claim_of_one_node(facts.identity.key, facts.observed.cache)
    return {"claim": claim} if claim else {}


def _as_json(model: GPURequestSpec | ReplicaRange) -> dict[str, Any]:
    """What is said, and what the schema would add."""
    content = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in content.items() if value not in ([], {})}


def _replicas(plan: Plan, facts: Facts) -> ReplicaRange:
    """Under an autoscaler the least is guaranteed; else the number that is asked for."""
    scaling = facts.spec.autoscaling
    if scaling.enabled:
        most = max(scaling.min_replicas, scaling.max_replicas or scaling.min_replicas)
        return ReplicaRange(min=scaling.min_replicas, max=most)
    asked = plan.replicas if isinstance(plan, Serve | Wait) else None
    groups = 1 if asked is None else min(asked, GROUPS)  # somebody may have scaled the workload beyond it
    return ReplicaRange(min=groups, max=groups)
