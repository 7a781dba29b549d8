"""Decisions -> GPUAllocations, one for each GPURequest that is answered (see app/gpupool/line.py).

What is kept is answered as it was applied: its explanation is that of the moment of the decision. While a changed
request waits, the decision about the earlier one stands with its GPUs, and says what comes next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from app.api.schema import API_VERSION
from app.api.v1alpha1.gpuallocation import (
    ExcludedNodes,
    GPUAllocation,
    GPUAllocationSpec,
    GrantedGPU,
    NextDecision,
    NodeRequirement,
    Phase,
)
from app.api.v1alpha1.gpunode import PARTITION_LABEL
from app.api.v1alpha1.gpurequest import GPURequest, Shape
from app.api.v1alpha1.places import Place, build_entries, parse_places
from app.gpupool.arrivals import is_watched, with_arrivals
from app.gpupool.observe import Observed, waiting_since
from app.kube.conditions import format_time
from app.kube.lenient import mapping_at
from app.kube.manifest import Manifest, emit, last_applied
from app.kube.names import OPERATOR, SERVICE_LABEL
from app.scheduling.explain import some
from app.scheduling.nodes import partition_mode
from app.scheduling.request import Decision, Outcome, PlacementRequest

_WAITING = (Outcome.PENDING, Outcome.IMPOSSIBLE)


def build_children(
    pool: str, decisions: Mapping[str, Decision], observed: Observed, answered: Iterable[str], now: datetime
) -> list[Manifest]:
    """The answers to these services, in the order of their names."""
    needs = {need.service: need for need in observed.placement_requests}
    return [_build(pool, key, decisions.get(key), needs.get(key), observed, now) for key in sorted(answered)]


def _build(
    pool: str, key: str, decision: Decision | None, need: PlacementRequest | None, observed: Observed, now: datetime
) -> Manifest:
    request, before, held = observed.requests[key], observed.allocations.get(key), observed.existing.get(key)
    if decision is None or need is None:
        fault = observed.faults.get(key)
        if fault and before and held:
            return last_applied(observed.manifests[key])
        return _allocation(key, emit(_faulty(pool, request, fault) if fault else _refused(pool, key, request)))
    allocation = _decide(pool, key, decision, observed, now)
    watched = is_watched(request.status, observed.agent_is_alive)
    spec = with_arrivals(allocation["spec"], decision, need, held, before, now, watched)
    return allocation | {"spec": spec}


def _decide(pool: str, key: str, decision: Decision, observed: Observed, now: datetime) -> Manifest:
    request, before, held = observed.requests[key], observed.allocations.get(key), observed.existing.get(key)
    if before and decision.is_kept:
        return _kept(last_applied(observed.manifests[key]), decision)
    if before and held and held.digest != request.spec.digest and decision.outcome in _WAITING:
        applied = last_applied(observed.manifests[key])
        following = emit(_next(request, decision, before, now, observed.notes.get(key, "")))
        return applied | {"spec": {**_still_granted(key, applied, decision, observed), "next": following}}
    return _allocation(key, emit(_decided(pool, key, decision, before, observed, now)))


def _still_granted(key: str, applied: Manifest, decision: Decision, observed: Observed) -> Manifest:
    """The earlier decision, less what is given back of it because its pods did not come."""
    spec = dict(mapping_at(applied, "spec"))
    if decision.given_back:
        need = next(need for need in observed.placement_requests if need.service == key)
        gpus = GPUAllocationSpec.read(spec).gpus
        left = {slot: place for slot, place in parse_places(gpus).items() if slot in need.arrived}
        memory = {it.node: it.memory_bytes for it in gpus}
        spec["gpus"] = [emit(it) for it in build_entries(left, memory)]
    return spec


def _kept(applied: Manifest, decision: Decision) -> Manifest:
    """As it was said when it was decided, but for breaches, which are told as they are now; no change waits."""
    spec = {key: value for key, value in mapping_at(applied, "spec").items() if key not in ("breaches", "next")}
    breaches = {"breaches": list(decision.breaches)} if decision.breaches else {}
    return applied | {"spec": spec | breaches}


def _allocation(key: str, spec: Manifest) -> Manifest:
    namespace, _, name = key.partition("/")
    labels = {
        "app.kubernetes.io/name": OPERATOR,
        "app.kubernetes.io/component": "gpu-allocation",
        "app.kubernetes.io/managed-by": OPERATOR,
        SERVICE_LABEL: name,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "GPUAllocation",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def _refused(pool: str, key: str, request: GPURequest) -> GPUAllocationSpec:
    namespace = key.partition("/")[0]
    return GPUAllocationSpec(
        pool=pool,
        digest=request.spec.digest,
        phase=Phase.IMPOSSIBLE,
        summary="namespace not admitted",
        message=f"GPUPool {pool} does not serve namespace {namespace}: its namespaceSelector asks for other labels.",
    )


def _faulty(pool: str, request: GPURequest, fault: str) -> GPUAllocationSpec:
    return GPUAllocationSpec(
        pool=pool,
        digest=request.spec.digest,
        phase=Phase.IMPOSSIBLE,
        summary="unreadable",
        message=f"{fault[0].upper()}{fault[1:]}. Ask for less in the InferenceService.",
    )


def _decided(
    pool: str, key: str, decision: Decision, before: GPUAllocation | None, observed: Observed, now: datetime
) -> GPUAllocationSpec:
    request = observed.requests[key]
    return GPUAllocationSpec(
        pool=pool,
        digest=request.spec.digest,
        phase=Phase(decision.outcome.value),
        resource=request.spec.resource or None,
        exclusive=request.spec.sharing == "exclusive" or None,
        product=decision.product or None,
        shape=_shape(request, decision),
        gpus=_gpus(request, decision, observed),
        pool_nodes=[*observed.pool_nodes, *_whole_gpus(request, observed)] if decision.hosts else [],
        groups=decision.groups or None,
        summary=_summary(decision),
        message=_message(decision, observed.notes.get(key, "")),
        excluded=[ExcludedNodes(reason=reason, nodes=nodes) for reason, nodes in decision.excluded],
        place_in_line=decision.place_in_line or None,
        waiting_since=_since(decision, before, now),
        foreign_use_unknown=decision.foreign_use_unknown or None,
        breaches=list(decision.breaches),
    )


def _whole_gpus(request: GPURequest, observed: Observed) -> list[NodeRequirement]:
    """Keeps pods that the kube-scheduler places off partitions where the request is for any product, hence for whole
    GPUs; nothing where the pool has no partitions, so that most pod templates never hear of them."""
    resource = request.spec.resource
    if any(shape.product for shape in request.spec.shapes):
        return []
    told = resource.rpartition("/")[2]
    modes = {partition_mode(node.product) for node in observed.nodes if node.resource == resource} - {"", told}
    return [NodeRequirement(key=PARTITION_LABEL, operator="NotIn", values=sorted(modes))] if modes else []


def _message(decision: Decision, note: str) -> str:
    return f"{decision.message} {note}".rstrip() if note else decision.message


def _next(request: GPURequest, decision: Decision, before: GPUAllocation, now: datetime, note: str) -> NextDecision:
    return NextDecision(
        digest=request.spec.digest,
        phase=Phase(decision.outcome.value),
        message=_message(decision, note),
        place_in_line=decision.place_in_line or None,
        waiting_since=_since(decision, before, now),
    )


def _since(decision: Decision, before: GPUAllocation | None, now: datetime) -> str | None:
    """Carried over while it waits."""
    if decision.outcome is not Outcome.PENDING and not decision.place_in_line:
        return None
    return waiting_since(before) or format_time(now)


def _shape(request: GPURequest, decision: Decision) -> Shape | None:
    """The shape that was asked for on this product; one without a product is for all."""
    if not decision.hosts:
        return None
    return next((it for it in request.spec.shapes if not it.product or it.product == decision.product), None)


def _gpus(request: GPURequest, decision: Decision, observed: Observed) -> list[GrantedGPU]:
    each, memory = request.spec.gpus_per_node, observed.memory.get(request.spec.resource, {})
    places = {slot: Place(host, each, slot in decision.proposed) for slot, host in decision.hosts.items()}
    return build_entries(places, memory)


def _summary(decision: Decision) -> str:
    """A few words for `kubectl get`: node names with the number of pods where there are several."""
    if not decision.hosts:
        return decision.outcome.value.lower()
    pods = Counter(decision.hosts.values())
    names = [host if count == 1 else f"{host} x{count}" for host, count in sorted(pods.items())]
    return some(names, 4)
