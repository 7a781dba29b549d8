"""Bounds of a line of very many services: who is answered, and whose namespace may add no more requests.

A pool sees every GPURequest and every GPUAllocation at each look, so both are bounded, or one namespace could make the
look larger than the hook service takes and stop the pool for all. What holds GPUs is never counted.

    answers     services without GPUs that have a GPUAllocation: MOST_ANSWERS, namespaces in turn, each by its place in
                line. The others are decided about at each look all the same, and have an answer once they get GPUs.
    requests    services without GPUs that have a GPURequest: MOST_REQUESTS, shared out so that who asks for least is
                cut last (max-min fairness). A namespace that has more than its share gets a notice, a GPUAllocation of
                no service; while it is there, further services of the namespace do not ask yet. The notice goes when
                less than REOPENED of the share is left, and says no number that changes, so it wakes nobody in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from app.api.schema import API_VERSION
from app.api.v1alpha1.gpuallocation import GPUAllocation, GPUAllocationSpec, Phase
from app.api.v1alpha1.gpurequest import GPURequest
from app.gpupool.observe import Observed
from app.kube.manifest import Manifest, emit
from app.kube.names import LINE_IS_FULL, LINE_LABEL, OPERATOR, short_hash
from app.scheduling.request import Decision

MOST_ANSWERS = 1_000
MOST_REQUESTS = 5_000
REOPENED = 0.8


def find_answered(observed: Observed, decisions: Mapping[str, Decision], asked: str = "") -> frozenset[str]:
    """Services that get a GPUAllocation; `asked` is one that does in any case."""
    holding = _holding(observed, decisions)
    others = [key for key in (*decisions, *sorted(observed.requests.keys() - decisions.keys())) if key not in holding]
    others.sort(key=lambda key: not _was_given_back(observed, key))
    turns, places = dict[str, int](), Counter[str]()
    for key in others:
        namespace = _namespace(key)
        turns[key] = places[namespace]
        places[namespace] += 1
    first = sorted(others, key=lambda key: turns[key])
    answered = [key for place, key in enumerate(first) if place < MOST_ANSWERS or not turns[key]]
    return holding | frozenset(answered) | (frozenset({asked}) & observed.requests.keys())


def _holding(observed: Observed, decisions: Mapping[str, Decision]) -> frozenset[str]:
    """Services that have GPUs, are promised some, or have pods on nodes: those are as few as GPUs are."""
    running = {need.service for need in observed.placement_requests if need.bound_pods}
    granted = {key for key, decision in decisions.items() if decision.hosts}
    return frozenset((running | granted | observed.existing.keys()) & observed.requests.keys())


def _was_given_back(observed: Observed, key: str) -> bool:
    """Its allocation alone remembers when it is tried again, so it stays before those that remember nothing."""
    allocation = observed.allocations.get(key)
    return allocation is not None and allocation.spec.given_back is not None


def find_full(waiting: Mapping[str, int], full_before: Set[str]) -> frozenset[str]:
    """Namespaces whose services without GPUs have more requests than their share; `waiting` are those by namespace."""
    closing = find_share(waiting.values(), MOST_REQUESTS)
    opening = find_share(waiting.values(), int(MOST_REQUESTS * REOPENED))
    return frozenset(it for it, count in waiting.items() if count > (opening if it in full_before else closing))


def find_share(counts: Iterable[int], most: int) -> int:
    """The largest share with which everybody together stays within `most`; as large as the largest count where nobody
    needs to be cut."""
    left, remaining = most, sorted(counts)
    for place, count in enumerate(remaining):
        share = left // (len(remaining) - place)
        if count > share:
            return share
        left -= count
    return max(remaining, default=0)


def count_waiting(requests: Mapping[str, GPURequest], holding: Set[str]) -> Counter[str]:
    """Requests by namespace, of whatever pool, less those of services that hold GPUs."""
    return Counter(_namespace(key) for key, found in requests.items() if key not in holding and not found.status.pods)


def build_notices(pool: str, observed: Observed, decisions: Mapping[str, Decision]) -> list[Manifest]:
    """The notices of all namespaces that have more requests than their share."""
    name = _notice_name(pool)
    before = {_namespace(key) for key, found in observed.allocations.items() if is_notice(found)}
    full = find_full(count_waiting(observed.all_requests, _holding(observed, decisions)), before)
    return [_notice(pool, name, namespace) for namespace in sorted(full)]


def is_notice(allocation: GPUAllocation) -> bool:
    return allocation.metadata.labels.get(LINE_LABEL) == LINE_IS_FULL


def _notice_name(pool: str) -> str:
    """Longer than any service's name, so that no service can have it; the hash tells pools apart."""
    return f"line-is-full-further-services-wait-before-they-ask-{short_hash(pool)}"


def _notice(pool: str, name: str, namespace: str) -> Manifest:
    labels = {
        "app.kubernetes.io/name": OPERATOR,
        "app.kubernetes.io/component": "gpu-allocation",
        "app.kubernetes.io/managed-by": OPERATOR,
        LINE_LABEL: LINE_IS_FULL,
    }
    spec = GPUAllocationSpec(
        pool=pool,
        digest="none",
        phase=Phase.PENDING,
        summary="line is full",
        message=(
            f"Too many services of namespace {namespace} wait for GPUs: further ones ask for theirs when fewer wait. "
            "Delete services that are not needed."
        ),
    )
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": API_VERSION, "kind": "GPUAllocation", "metadata": metadata, "spec": emit(spec)}


def _namespace(key: str) -> str:
    return key.partition("/")[0]
