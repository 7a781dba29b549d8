"""SpecApplied: fields that were accepted and have no effect, each with the reason. It is there only when there are any.

A value that a stored object has by default is no wish, so it is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.api.v1alpha1.inferenceservice import DEFAULT_POOL, InferenceServiceSpec
from app.fit.parallelism import Strategy
from app.inferenceservice.facts import Facts
from app.kube.conditions import Condition, Reason, Status, listed

SPEC_APPLIED = "SpecApplied"

Notes = Iterator[str]


def applied_conditions(facts: Facts) -> list[Condition]:
    """The condition, or nothing when all of the spec is applied."""
    refused = [*facts.ingress_notes]
    without_effect = [note for check in CHECKS for note in check(facts)]
    if not refused and not without_effect:
        return []
    reason = Reason.CONFIGURATION_ERROR if refused else Reason.MISSING_CAPABILITY
    return [Condition(SPEC_APPLIED, Status.FALSE, reason, listed([*refused, *without_effect]))]


def grpc_is_not_served(facts: Facts) -> Notes:
    port = facts.spec.networking.ports.grpc
    if port:
        yield f"networking.ports.grpc: the Service has no port {port}, because vLLM serves no gRPC beside HTTP"


def static_is_not_optimised(facts: Facts) -> Notes:
    resources = facts.spec.resources
    if resources.auto_optimize and resources.strategy is Strategy.STATIC:
        yield "resources.autoOptimize: without effect, because strategy static has one size, a stage on each node"


def no_pool_is_asked(facts: Facts) -> Notes:
    """Where the installation has no pools, nothing decides by them."""
    if facts.observed.pools_possible:
        return
    resources = facts.spec.resources
    why = "without effect, because this installation has no GPU pools"
    if resources.pool != DEFAULT_POOL:
        yield f"resources.pool: {resources.pool} is {why}"
    if resources.priority:
        yield f"resources.priority: {resources.priority} is {why}"


def group_is_off(facts: Facts) -> Notes:
    group = facts.spec.distributed
    if not group.enabled:
        sizes = {"size": group.size, "leaderReplicas": group.leader_replicas, "workerReplicas": group.worker_replicas}
        given = [f"{name} {value}" for name, value in sizes.items() if value is not None]
        given += ["mpi.enabled"] if group.mpi.enabled else []
        if given:
            yield f"distributed.{', '.join(given)}: without effect, because distributed.enabled is false"
    if not (group.enabled and group.mpi.enabled):
        yield from _mpi_is_off(facts.spec)


def _mpi_is_off(spec: InferenceServiceSpec) -> Notes:
    mpi = spec.distributed.mpi
    given = [] if mpi.timeout == type(mpi)().timeout else [f"timeout {mpi.timeout}"]
    given += [f"sshKeySecret {mpi.ssh_key_secret}"] if mpi.ssh_key_secret else []
    if given:
        yield f"distributed.mpi.{', '.join(given)}: without effect, because the group is not launched by MPI"


def switch_is_off(facts: Facts) -> Notes:
    """Settings of something that is not enabled; those of the ingress are told with its other notes."""
    scaling, monitoring = facts.spec.autoscaling, facts.spec.monitoring
    if not scaling.enabled and (given := scaling.differing()):
        yield f"autoscaling.{', '.join(given)}: without effect, because autoscaling.enabled is false"
    if not monitoring.enabled and (given := monitoring.prometheus.differing()):
        yield f"monitoring.prometheus.{', '.join(given)}: without effect, because monitoring.enabled is false"


def replicas_are_scaled(facts: Facts) -> Notes:
    scaling, replicas = facts.spec.autoscaling, facts.spec.replicas
    if scaling.enabled and replicas is not None:
        yield f"replicas: {replicas} is ignored while autoscaling is enabled"


CHECKS: tuple[Callable[[Facts], Notes], ...] = (
    grpc_is_not_served,
    static_is_not_optimised,
    no_pool_is_asked,
    group_is_off,
    switch_is_off,
    replicas_are_scaled,
)
