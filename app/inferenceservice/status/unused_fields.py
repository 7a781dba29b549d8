"""SpecApplied: fields that were accepted and have no effect, each with the reason. It is there only when there are any.

A value that a stored object has by default is no wish, so it is not told.
"""

from __future__ import annotations

from app.api.v1alpha1.inferenceservice import DEFAULT_POOL
from app.fit.parallelism import Strategy
from app.inferenceservice.facts import Facts
from app.kube.conditions import Condition, Reason, Status, listed
from app.policy import Chain

SPEC_APPLIED = "SpecApplied"


def applied_conditions(facts: Facts) -> list[Condition]:
    """The condition, or nothing when all of the spec is applied."""
    refused = [*facts.ingress_notes]
    without_effect = UNUSED_FIELDS.evaluate_all(facts)
    if not refused and not without_effect:
        return []
    reason = Reason.CONFIGURATION_ERROR if refused else Reason.MISSING_CAPABILITY
    return [Condition(SPEC_APPLIED, Status.FALSE, reason, listed([*refused, *without_effect]))]


def grpc_is_not_served(facts: Facts) -> str | None:
    port = facts.spec.networking.ports.grpc
    if not port:
        return None
    return f"networking.ports.grpc: the Service has no port {port}, because vLLM serves no gRPC beside HTTP"


def static_is_not_optimised(facts: Facts) -> str | None:
    resources = facts.spec.resources
    if not resources.auto_optimize or resources.strategy is not Strategy.STATIC:
        return None
    return "resources.autoOptimize: without effect, because strategy static has one size, a stage on each node"


_NO_POOLS = "without effect, because this installation has no GPU pools"


def no_pool_is_asked(facts: Facts) -> str | None:
    pool = facts.spec.resources.pool
    if facts.observed.pools_possible or pool == DEFAULT_POOL:
        return None
    return f"resources.pool: {pool} is {_NO_POOLS}"


def no_pool_has_a_line(facts: Facts) -> str | None:
    priority = facts.spec.resources.priority
    if facts.observed.pools_possible or not priority:
        return None
    return f"resources.priority: {priority} is {_NO_POOLS}"


def group_is_off(facts: Facts) -> str | None:
    group = facts.spec.distributed
    sizes = {"size": group.size, "leaderReplicas": group.leader_replicas, "workerReplicas": group.worker_replicas}
    given = [f"{name} {value}" for name, value in sizes.items() if value is not None]
    given += ["mpi.enabled"] if group.mpi.enabled else []
    if group.enabled or not given:
        return None
    return f"distributed.{', '.join(given)}: without effect, because distributed.enabled is false"


def mpi_is_off(facts: Facts) -> str | None:
    group, mpi = facts.spec.distributed, facts.spec.distributed.mpi
    given = [] if mpi.timeout == type(mpi)().timeout else [f"timeout {mpi.timeout}"]
    given += [f"sshKeySecret {mpi.ssh_key_secret}"] if mpi.ssh_key_secret else []
    if (group.enabled and mpi.enabled) or not given:
        return None
    return f"distributed.mpi.{', '.join(given)}: without effect, because the group is not launched by MPI"


def autoscaling_is_off(facts: Facts) -> str | None:
    scaling = facts.spec.autoscaling
    if scaling.enabled or not (given := scaling.differing()):
        return None
    return f"autoscaling.{', '.join(given)}: without effect, because autoscaling.enabled is false"


def monitoring_is_off(facts: Facts) -> str | None:
    monitoring = facts.spec.monitoring
    if monitoring.enabled or not (given := monitoring.prometheus.differing()):
        return None
    return f"monitoring.prometheus.{', '.join(given)}: without effect, because monitoring.enabled is false"


def replicas_are_scaled(facts: Facts) -> str | None:
    scaling, replicas = facts.spec.autoscaling, facts.spec.replicas
    if not scaling.enabled or replicas is None:
        return None
    return f"replicas: {replicas} is ignored while autoscaling is enabled"


UNUSED_FIELDS = Chain[Facts, str](
    grpc_is_not_served,
    static_is_not_optimised,
    no_pool_is_asked,
    no_pool_has_a_line,
    group_is_off,
    mpi_is_off,
    autoscaling_is_off,
    monitoring_is_off,
    replicas_are_scaled,
)
