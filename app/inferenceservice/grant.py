"""Which GPUs the workload is built for: what the pool granted, or, where the settings say that there are no pools, the
spec alone.

The pool's answer is a GPUAllocation. Nothing else permits a new workload while pools are required: neither that no pool
has the name that the service gives, nor that a pool has no nodes, nor silence. Otherwise a user would leave the pools'
limits by a wrong name.

With INFERENCE_POOLS=none a service goes by its spec once it is known that no pool answers: the agent says in the
GPURequest's status that there is none, or, where no agent runs either, the request has gone unanswered for
UNANSWERED_SECONDS. As soon as the agent sees any pool, an unknown name is refused here too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec, NextDecision, NodeRequirement, Phase
from app.api.v1alpha1.gpurequest import GPURequest
from app.api.v1alpha1.gpurequest import Shape as GrantedShape
from app.fit.parallelism import Parallelism
from app.inferenceservice.demand import Need
from app.inferenceservice.facts import Facts
from app.kube.conditions import ErrorClass, Finding, Reason, parse_time

UNANSWERED_SECONDS = 30.0


@dataclass(frozen=True)
class Grant:
    """The GPUs of each group."""

    parallelism: Parallelism
    product: str = ""
    """Key in the accelerator catalogue; "" = whatever node the scheduler finds."""
    max_model_len: int | None = None
    """Chosen by the planner because the user named none."""
    pool_nodes: tuple[NodeRequirement, ...] = ()
    """Requirements on nodes by which the kube-scheduler keeps to the pool; the agent needs none."""
    gated: bool = False
    """Pods are born with the placement gate: the agent gives each its node."""
    note: str = ""
    """What was not checked, and why."""


def find_grant(facts: Facts, need: Need, current_digest: str = "") -> Grant | Finding:
    """The grant, or what it waits for.

    `current_digest` is the digest of the request that a running workload was built for: its answer stands too, even
    when the same spec would be asked differently today.
    """
    found = _find_grant(facts, need, current_digest)
    if isinstance(found, Finding) and found.reason is Reason.INSUFFICIENT_GPU and facts.neighbour:
        return replace(found, message=f"{found.message}; {facts.neighbour.message}")
    return found


def _find_grant(facts: Facts, need: Need, current_digest: str) -> Grant | Finding:
    allocation = facts.observed.allocation
    if allocation and allocation.digest in (need.digest, current_digest):
        return _answered(facts, need, allocation)
    if allocation and allocation.next and allocation.next.digest == need.digest:
        return _refused(facts, allocation.next)
    return _unanswered(facts, need, current_digest)


def grant_by_spec(need: Need, note: str = "") -> Grant:
    """Without a pool: the shape that the spec alone gives."""
    return Grant(need.parallelism, note=note)


def _answered(facts: Facts, need: Need, allocation: GPUAllocationSpec) -> Grant | Finding:
    if allocation.phase == Phase.BOUND and allocation.shape:
        return _granted(need, allocation.shape, tuple(allocation.pool_nodes))
    if allocation.phase == Phase.UNKNOWN:
        return _without_nodes(facts, need, (allocation.message or "").partition(". ")[2].rstrip("."))
    return _refused(facts, allocation)


def _refused(facts: Facts, answer: GPUAllocationSpec | NextDecision) -> Finding:
    pool = facts.spec.resources.pool
    if answer.phase == Phase.IMPOSSIBLE:
        message = f"pool {pool} can never grant this: {answer.message or ''}"
        return Finding(ErrorClass.PERMANENT, Reason.INSUFFICIENT_GPU, message)
    if answer.phase == Phase.PENDING:
        line = f" (place {answer.place_in_line} in line)" if answer.place_in_line else ""
        given_back = told_given_back(answer) if isinstance(answer, GPUAllocationSpec) else ""
        message = f"waits for GPUs of pool {pool}{line}: {' '.join(it for it in (answer.message, given_back) if it)}"
        return Finding(ErrorClass.RESOURCE, Reason.INSUFFICIENT_GPU, message)
    return Finding(ErrorClass.TRANSIENT, Reason.IN_PROGRESS, f"pool {pool} is assigning GPUs")


def told_given_back(allocation: GPUAllocationSpec) -> str:
    """What became of GPUs whose pods did not come, "" when there are none."""
    return (allocation.given_back.message if allocation.given_back else None) or ""


def _granted(need: Need, granted: GrantedShape, pool_nodes: tuple[NodeRequirement, ...]) -> Grant:
    return Grant(
        parallelism=Parallelism(granted.tensor, granted.pipeline, granted.data, granted.expert_parallel),
        product=granted.product or "",
        max_model_len=granted.max_model_len,
        pool_nodes=() if need.gated else pool_nodes,
        gated=need.gated,
        note=need.note,
    )


def _without_nodes(facts: Facts, need: Need, more: str) -> Grant | Finding:
    """`more`: what the pool says besides."""
    pool, rest = facts.spec.resources.pool, f"; {more}" if more else ""
    if not facts.settings.pools_required:
        return grant_by_spec(need, f"pool {pool} has no nodes: free GPUs were not checked{rest}")
    message = f"pool {pool} has no nodes: it waits until an AMD node matches the nodeSelector of GPUPool {pool}{rest}"
    return Finding(ErrorClass.RESOURCE, Reason.INSUFFICIENT_GPU, message)


def _unanswered(facts: Facts, need: Need, current_digest: str) -> Grant | Finding:
    request, pool = facts.observed.request, facts.spec.resources.pool
    if not facts.observed.pools_possible:
        return grant_by_spec(need, "this installation has no GPU pools: free GPUs were not checked")
    if facts.observed.is_held_back:
        return _held_back(facts, pool)
    if request is None or request.spec.digest not in (need.digest, current_digest) or request.spec.pool != pool:
        return Finding(ErrorClass.TRANSIENT, Reason.PENDING, f"asks pool {pool} for GPUs")
    if request.status.pool_exists is False:
        return _unknown_pool(facts, need, request)
    if request.status.pool_exists and not facts.observed.allocation and _is_old(facts, request):
        return _not_answered(facts, pool)
    if not _is_forgotten(facts, request):
        return Finding(ErrorClass.TRANSIENT, Reason.PENDING, f"asks pool {pool} for GPUs, and has no answer yet")
    if facts.settings.pools_required:
        message = (
            f"neither pool {pool} nor the agent has answered for over {UNANSWERED_SECONDS:.0f} s: check that GPUPool "
            f"{pool} exists and that the agent runs. {_NO_POOLS}"
        )
        return Finding(ErrorClass.TRANSIENT, Reason.PENDING, message)
    message = f"nobody answered for pool {pool} within {UNANSWERED_SECONDS:.0f} s: free GPUs were not checked"
    return grant_by_spec(need, message)


_NO_POOLS = "A cluster without any GPUPool needs the operator's setting INFERENCE_POOLS=none"


def _unknown_pool(facts: Facts, need: Need, request: GPURequest) -> Grant | Finding:
    pool = facts.spec.resources.pool
    if not facts.settings.pools_required and not request.status.any_pool:
        return grant_by_spec(need, f"there is no GPUPool {pool}: free GPUs were not checked")
    message = f"there is no GPUPool {pool}: name one that exists in resources.pool, or have it created"
    hint = "" if request.status.any_pool else f". {_NO_POOLS}"
    return Finding(ErrorClass.PERMANENT, Reason.CONFIGURATION_ERROR, f"{message}{hint}")


def _is_forgotten(facts: Facts, request: GPURequest) -> bool:
    """Neither pool nor agent has said anything for long; an answer to an earlier request shows that a pool is there."""
    return not request.status.pool_exists and not facts.observed.allocation and _is_old(facts, request)


def _is_old(facts: Facts, request: GPURequest) -> bool:
    created = parse_time(request.metadata.creation_timestamp)
    return created is not None and (facts.now - created).total_seconds() >= UNANSWERED_SECONDS


def _held_back(facts: Facts, pool: str) -> Finding:
    namespace = facts.identity.namespace
    message = (
        f"too many services of namespace {namespace} wait for GPUs already, so this one does not ask pool {pool} yet: "
        f"it asks when fewer wait. Delete services of namespace {namespace} that are not needed"
    )
    return Finding(ErrorClass.RESOURCE, Reason.INSUFFICIENT_GPU, message)


def _not_answered(facts: Facts, pool: str) -> Finding:
    """A pool answers the first ones of a very long line (app/gpupool/line.py), and decides about all."""
    message = (
        f"waits for GPUs of pool {pool}, which has not answered for over {UNANSWERED_SECONDS:.0f} s: where very many "
        "services wait, it tells the first ones of each namespace what they wait for, and the others once they get "
        f"GPUs. GPUPool {pool} says how many wait (status.pending, status.unanswered); delete services of namespace "
        f"{facts.identity.namespace} that are not needed to be told sooner"
    )
    return Finding(ErrorClass.RESOURCE, Reason.INSUFFICIENT_GPU, message)
