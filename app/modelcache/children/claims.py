"""The claims: immutable but for their size."""

from __future__ import annotations

from kubernetes.client.models.v1_persistent_volume_claim import V1PersistentVolumeClaim
from kubernetes.client.models.v1_persistent_volume_claim_spec import V1PersistentVolumeClaimSpec
from kubernetes.client.models.v1_volume_resource_requirements import V1VolumeResourceRequirements

from app.kube.manifest import Manifest, emit, with_value
from app.modelcache.children.metadata import build_metadata
from app.modelcache.facts import Facts
from app.modelcache.observe import Copy
from app.modelcache.plan import Plan
from app.modelcache.volume import VolumeKind

_STORAGE = ("spec", "resources", "requests", "storage")


def build_claims(facts: Facts, plan: Plan) -> list[Manifest]:
    """What exists is answered as applied, and only grows."""
    if facts.own_claims:
        return [claim.applied for claim in facts.own_claims]
    if facts.volume.kind is not VolumeKind.CLAIMS:
        return []
    return [
        with_value(copy.claim.applied, _STORAGE, plan.size) if copy.claim else emit(build_claim(facts, copy, plan))
        for copy in facts.copies
    ]


def build_claim(facts: Facts, copy: Copy, plan: Plan) -> V1PersistentVolumeClaim:
    return V1PersistentVolumeClaim(
        api_version="v1",
        kind="PersistentVolumeClaim",
        metadata=build_metadata(copy.claim_name, "model-cache", facts),
        spec=V1PersistentVolumeClaimSpec(
            access_modes=[facts.spec.access_mode.value],
            volume_mode="Filesystem",
            storage_class_name=plan.storage_class or None,
            resources=V1VolumeResourceRequirements(requests={"storage": plan.size}),
        ),
    )
