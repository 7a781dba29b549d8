"""What fails and what of the spec is not applied: small checks in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable

from app.kube.conditions import ErrorClass, Finding, Reason
from app.kube.names import REFRESH_ANNOTATION
from app.kube.quantity import parse_quantity
from app.modelcache.facts import Facts

Policy = Callable[[Facts], Finding | None]


def find_lost_claim(facts: Facts) -> Finding | None:
    if not facts.is_lost:
        return None
    message = (
        f"PersistentVolumeClaim {facts.claim_name} has lost its volume, and the model with it: delete the claim, "
        "and a new one is made and filled."
    )
    return Finding(ErrorClass.PERMANENT, Reason.FAILED, message)


def find_failed_download(facts: Facts) -> Finding | None:
    if facts.job is None or not facts.job.failure:
        return None
    message = (
        f"Job {facts.download.job_name} failed: {facts.job.failure}. Its pods' logs say more; to try again, annotate "
        f"{REFRESH_ANNOTATION}=<anything new>."
    )
    return Finding(ErrorClass.EXTERNAL, Reason.FAILED, message)


def find_shrunk_size(facts: Facts) -> Finding | None:
    there = facts.claim.size if facts.claim else ""
    if not there or parse_quantity(facts.size) >= parse_quantity(there):
        return None
    return _unapplied(facts, "size", there, facts.size)


def find_other_class(facts: Facts) -> Finding | None:
    there, asked = facts.claim.storage_class if facts.claim else "", facts.spec.storage_class
    return _unapplied(facts, "StorageClass", there, asked) if there and asked and there != asked else None


def find_other_access_mode(facts: Facts) -> Finding | None:
    there, asked = facts.claim.access_modes if facts.claim else (), facts.spec.access_mode.value
    return _unapplied(facts, "access mode", ", ".join(there), asked) if there and asked not in there else None


def find_extra_replicas(facts: Facts) -> Finding | None:
    replicas = facts.spec.caching.replicas
    if replicas == 1:
        return None
    message = (
        f"spec.caching.replicas asks for {replicas} copies, 1 is kept: all nodes read the one "
        f"{facts.spec.access_mode.value} volume {facts.claim_name}. Set it to 1 to drop this notice."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.PENDING, message)


def find_disabled_caching(facts: Facts) -> Finding | None:
    if facts.spec.caching.enabled:
        return None
    message = (
        f"spec.caching.enabled is false, yet the model is kept on PersistentVolumeClaim {facts.claim_name}: there "
        "is no other way to serve it. Delete the ModelCache to free the space."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.PENDING, message)


def _unapplied(facts: Facts, what: str, there: str, asked: str) -> Finding:
    message = (
        f"PersistentVolumeClaim {facts.claim_name} has {what} {there}, the spec asks for {asked}: a claim can only "
        f"grow in size. Set it back to {there}, or make a new ModelCache."
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


FAILURES: tuple[Policy, ...] = (find_lost_claim, find_failed_download)
UNAPPLIED: tuple[Policy, ...] = (
    find_shrunk_size,
    find_other_class,
    find_other_access_mode,
    find_extra_replicas,
    find_disabled_caching,
)


def find_all(policies: tuple[Policy, ...], facts: Facts) -> tuple[Finding, ...]:
    """What the policies find, in their order."""
    return tuple(finding for policy in policies if (finding := policy(facts)))
